package deployer

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/test/testtools"
)

// reference is AWS's Service Authorization Reference, as cfn-lint brings it: it comes with moto.
type reference map[string]struct {
	Actions   map[string]struct{ Resources []string }
	Resources map[string]struct{ ARNFormats []string }
}

func readReference(t *testing.T) reference {
	t.Helper()
	env := testtools.Environment(t, pyenv.Moto)
	cmd := exec.CommandContext(t.Context(), env.Python(), "-c", "import cfnlint; print(cfnlint.__path__[0], end='')")
	cmd.Env = pyenv.Environ()
	dir, err := cmd.Output()
	testtools.NoError(t, err)
	file, err := os.ReadFile(filepath.Join(string(dir), "data", "AdditionalSpecs", "Policies.json"))
	testtools.NoError(t, err)
	var r reference
	testtools.NoError(t, json.Unmarshal(file, &r))
	return r
}

var formats = map[string]*regexp.Regexp{}

var placed = strings.NewReplacer("${Partition}", "aws", "${Region}", "[^:]*", "${Account}", "[^:]*")

// kinds are the types of resource that an ARN of a policy stands for.
func (r reference) kinds(arn string) []string {
	service := strings.Split(arn, ":")[2]
	var kinds []string
	for kind, resource := range r[service].Resources {
		for _, format := range resource.ARNFormats {
			if formats[format] == nil {
				formats[format] = regexp.MustCompile("^(?:" + placed.Replace(format) + ")$")
			}
			if formats[format].MatchString(arn) {
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// wide are actions that know a resource which nobody can name beforehand: the operation that
// makes a namespace, the machine of a task, which Fargate has none of, and a data set of metrics,
// which those of the probe are not.
var wide = map[string]bool{"servicediscovery:GetOperation": true, "ecs:ListTasks": true, "cloudwatch:GetMetricData": true}

// problems are what AWS would take no notice of in a statement: an action that does not exist,
// or that does not know the resource; a tag of a resource that has none.
func (r reference) problems(s iam.Statement) []string {
	var all []string
	kinds := map[string][]string{}
	for _, resource := range s.Resource {
		if resource != "*" {
			kinds[resource] = r.kinds(resource)
		}
	}
	knows := map[string]bool{} // resources that an action is about
	for _, action := range s.Action {
		service, name, _ := strings.Cut(action, ":")
		known, exists := r[service].Actions[strings.ToLower(name)]
		if !exists {
			all = append(all, action+" does not exist")
			continue
		}
		var about []string
		for _, resource := range s.Resource {
			switch {
			case resource == "*" && (len(known.Resources) == 0 || wide[action]):
				about = append(about, resource)
			case strings.HasSuffix(resource, ":*/*") && strings.HasPrefix(action, "ec2:") && strings.HasSuffix(action, "Tags"):
				about = append(about, resource) // whatever EC2 makes
			case resource != "*":
				for _, kind := range kinds[resource] {
					for _, one := range known.Resources {
						if strings.EqualFold(one, kind) {
							about = append(about, resource)
						}
					}
				}
			}
		}
		for _, resource := range about {
			knows[resource] = true
		}
		if len(about) == 0 {
			all = append(all, action+" is about none of "+strings.Join(s.Resource, ", "))
		}
	}
	for _, resource := range s.Resource {
		if !knows[resource] {
			all = append(all, "no action is about "+resource)
		}
	}
	return all
}

// TestPoliciesMeanWhatTheySay asks AWS's own list about each action and resource.
func TestPoliciesMeanWhatTheySay(t *testing.T) {
	r := readReference(t)
	seen := map[string]bool{}
	for _, name := range environments(t) {
		for _, s := range append(policyOf(t, name, Deploy).Statement, policyOf(t, name, Adopt).Statement...) {
			for _, problem := range r.problems(s) {
				if !seen[problem] {
					seen[problem] = true
					t.Errorf("%s: %s", name, problem)
				}
			}
		}
	}
	// And it finds what is wrong.
	for want, s := range map[string]iam.Statement{
		"ec2:CreateVPCs does not exist": iam.Allow("", []string{"ec2:CreateVPCs"}, "*"),
		"ec2:DescribeVpcs is about none of arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1": iam.Allow("", []string{"ec2:DescribeVpcs"}, "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1"),
		"ecs:DeleteCluster is about none of *":                                           iam.Allow("", []string{"ecs:DeleteCluster"}, "*"),
	} {
		if problems := r.problems(s); len(problems) == 0 || problems[0] != want {
			t.Errorf("got %q, want %q", problems, want)
		}
	}
}
