// Package tf holds what the constructs need to say in Terraform's terms and the CDKTF
// library has no word for: fixed resource addresses, literal text, JSON in strings.
package tf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/jsii-runtime-go"
	"github.com/hashicorp/terraform-cdk-go/cdktf"
)

// Fix gives element the address <type>.<name> and returns it.
//
// CDKTF's own addresses end in a hash of the construct's path. An address is a
// contract: a resource whose address changes is destroyed and created again, so
// it must not change because code was moved, and a person must be able to read it.
// The name must be unique for the type of the element within the stack.
func Fix[E cdktf.TerraformElement](element E, name string) E {
	element.OverrideLogicalId(jsii.String(name))
	return element
}

// Ref refers to an attribute of an element that Fix gave its address, as in
// Ref("aws_vpc.main.id").
//
// CDKTF's own way is vpc.Id(). That is a call to CDKTF's Node process for each reference,
// and a token which CDKTF then replaces by this very text: a third of the time of a synth
// of many environments. The tests hold that every reference leads to an element.
func Ref(attribute string) *string {
	return jsii.String("${" + attribute + "}")
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

// Optional is nil for the empty string, which leaves an argument out.
func Optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Name is the tag that AWS shows as the resource's name.
func Name(name string) *map[string]*string {
	return &map[string]*string{"Name": jsii.String(name)}
}

// Rule is something that must hold before Terraform changes anything.
type Rule struct {
	// Condition is an expression of Terraform's, without "${}".
	Condition string
	// Message tells a person what is wrong and how to mend it.
	Message string
}

// Require makes rules preconditions of a resource. Terraform checks them when it plans the
// resource, and not when it destroys it.
func Require(rules ...Rule) *cdktf.TerraformResourceLifecycle {
	var conditions []*cdktf.Precondition
	for _, rule := range rules {
		conditions = append(conditions, &cdktf.Precondition{
			Condition:    jsii.String("${" + rule.Condition + "}"),
			ErrorMessage: jsii.String(rule.Message),
		})
	}
	return &cdktf.TerraformResourceLifecycle{Precondition: &conditions}
}
