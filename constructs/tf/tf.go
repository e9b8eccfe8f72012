// Package tf holds what the constructs need of Terraform and CDKTF does not offer: readable
// resource addresses and references to them, literal text, JSON in strings.
package tf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/hashicorp/terraform-cdk-go/cdktf"
)

// Addressed is an element of the stack together with its address, from which references to it are
// made: tf.ID(vpc) is the text ${aws_vpc.main.id}, and what the element's type lacks does not
// compile.
//
// CDKTF's own way is vpc.Id(). That is a call to CDKTF's Node process for each reference, and
// a token which CDKTF then replaces by this very text: a fifth of the time of a synth of many
// environments.
type Addressed[E cdktf.TerraformElement] struct {
	Element E
	// Address is as Terraform writes it: aws_vpc.main, data.aws_partition.current.
	Address string
}

// WithAddress gives element its address.
//
// CDKTF's own addresses end in a hash of the construct's path. An address is a
// contract: a resource whose address changes is destroyed and created again, so
// it must not change because code was moved, and a person must be able to read it.
// The name must be unique for the type of the element within the stack.
func WithAddress[E cdktf.TerraformElement](element E, address string) Addressed[E] {
	dot := strings.LastIndex(address, ".")
	kind, name := address[:dot], address[dot+1:]
	// The binding has a package for each type, called as the type but for "_", "." and "aws".
	called := strings.TrimPrefix(strings.NewReplacer("_", "", ".", "").Replace(kind), "aws")
	if of := reflect.TypeFor[E](); path.Base(of.PkgPath()) != called {
		panic(fmt.Sprintf("tf: %s is not the address of a %s", address, of))
	}
	element.OverrideLogicalId(&name)
	return Addressed[E]{element, address}
}

func (f Addressed[E]) attribute(name string) *string {
	return jsii.String("${" + f.Address + "." + name + "}")
}

// ID refers to the element's id.
func ID[E interface {
	cdktf.TerraformElement
	Id() *string
}](f Addressed[E]) *string {
	return f.attribute("id")
}

// ARN refers to the element's ARN.
func ARN[E interface {
	cdktf.TerraformElement
	Arn() *string
}](f Addressed[E]) *string {
	return f.attribute("arn")
}

// Name refers to the element's name.
func Name[E interface {
	cdktf.TerraformElement
	Name() *string
}](f Addressed[E]) *string {
	return f.attribute("name")
}

// NameAt refers to one of the names that a data source found.
func NameAt[E interface {
	cdktf.TerraformElement
	Names() *[]*string
}](f Addressed[E], i int) *string {
	return f.attribute(fmt.Sprintf("names[%d]", i))
}

// URL refers to the element's URL.
func URL[E interface {
	cdktf.TerraformElement
	Url() *string
}](f Addressed[E]) *string {
	return f.attribute("url")
}

// ResourceID refers to what a scalable target scales.
func ResourceID[E interface {
	cdktf.TerraformElement
	ResourceId() *string
}](f Addressed[E]) *string {
	return f.attribute("resource_id")
}

// AccountID refers to the number of the account that a data source found.
func AccountID[E interface {
	cdktf.TerraformElement
	AccountId() *string
}](f Addressed[E]) *string {
	return f.attribute("account_id")
}

// Partition refers to the partition of AWS that a data source found.
func Partition[E interface {
	cdktf.TerraformElement
	Partition() *string
}](f Addressed[E]) *string {
	return f.attribute("partition")
}

// Ephemeral adds an ephemeral resource, whose value is in no plan and no state, and returns
// the beginning of a reference to it. CDKTF does not support such resources.
func Ephemeral(scope constructs.Construct, kind, name string, arguments map[string]any) string {
	cdktf.TerraformStack_Of(scope).AddOverride(jsii.String("ephemeral."+kind+"."+name), arguments)
	return "ephemeral." + kind + "." + name
}

// Literal escapes what Terraform would take for a template in s, so that s arrives as
// written.
func Literal(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}

// JSON encodes v for an argument that takes a JSON string. References such as
// "${aws_iam_role.task.arn}" inside v stay references; pass other people's text
// through Literal before.
func JSON(v any) *string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // < > & would come out as \u003c and make the diff unreadable
	if err := encoder.Encode(v); err != nil {
		panic(fmt.Sprintf("tf: encode %T: %v", v, err)) // only types of this program come here
	}
	return jsii.String(strings.TrimSuffix(b.String(), "\n"))
}

// Optional returns nil for the empty string, which leaves an argument out.
func Optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// NameTag returns the tag that AWS shows as the resource's name.
func NameTag(name string) *map[string]*string {
	return &map[string]*string{"Name": jsii.String(name)}
}

// Protected makes Terraform refuse to destroy or replace a resource, if protect is true.
func Protected(protect bool) *cdktf.TerraformResourceLifecycle {
	if !protect {
		return nil
	}
	return &cdktf.TerraformResourceLifecycle{PreventDestroy: jsii.Bool(true)}
}

// Rule is something that must hold before Terraform changes anything.
type Rule struct {
	// Condition is an expression of Terraform's, without "${}".
	Condition string
	// Message says what is wrong and how to fix it.
	Message string
}

// Preconditions makes rules preconditions of a resource. Terraform checks them when it plans the
// resource, and not when it destroys it.
func Preconditions(rules ...Rule) *cdktf.TerraformResourceLifecycle {
	var conditions []*cdktf.Precondition
	for _, rule := range rules {
		conditions = append(conditions, &cdktf.Precondition{Condition: rule.expression(), ErrorMessage: jsii.String(rule.Message)})
	}
	return &cdktf.TerraformResourceLifecycle{Precondition: &conditions}
}

// Postconditions makes rules postconditions of a data source, whose attributes they call self.
// Terraform checks them as soon as it has read it, and only warns when it destroys.
func Postconditions(rules ...Rule) *cdktf.TerraformResourceLifecycle {
	var conditions []*cdktf.Postcondition
	for _, rule := range rules {
		conditions = append(conditions, &cdktf.Postcondition{Condition: rule.expression(), ErrorMessage: jsii.String(rule.Message)})
	}
	return &cdktf.TerraformResourceLifecycle{Postcondition: &conditions}
}

func (r Rule) expression() *string { return jsii.String("${" + r.Condition + "}") }
