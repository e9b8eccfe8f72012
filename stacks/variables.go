package stacks

import (
	"fmt"

	"github.com/aws/jsii-runtime-go"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/tf"
)

// References to the variables below and to what is calculated from them.
const (
	regionReference = "${var.aws_region}"
	apiURLReference = "${local.prefect_api_url}"

	consoleDomainReference = "${local.console_domain}"
)

const uuidPattern = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

// newVariables declares the values of one deployment, under the original design's names.
//
// Each has a default, and an empty string means "not given": for a variable without a
// default the CDKTF CLI would wait indefinitely at a prompt that it does not show. What is
// indispensable is required by preconditions, which destroy does not check.
func newVariables(stack cdktf.TerraformStack, env *config.Environment) {
	variable(stack, "aws_region", env.Region,
		"AWS region to deploy to",
		tf.Rule{Condition: `can(regex("^[a-z]{2,4}(-[a-z]+){1,2}-[0-9]$", var.aws_region))`,
			Message: "The variable aws_region must be a region's code, such as us-east-1."})
	if env.Secret.ExistingARN == "" && env.Prefect.Authentication != config.AuthNone && !env.Server.Enabled {
		credential := credentialVariable(stack, env.Prefect.Authentication)
		credential.AddOverride(jsii.String("sensitive"), true)
		// Ephemeral values are kept out of plan files and state; the binding has no field for it.
		credential.AddOverride(jsii.String("ephemeral"), true)
	}
	variable(stack, "prefect_api_url", env.Prefect.APIURL,
		"URL of the Prefect API; empty for the one of prefect_account_id and prefect_workspace_id",
		tf.Rule{Condition: `var.prefect_api_url == "" || can(regex("^https://api\\.prefect\\.cloud/api/accounts/` + uuidPattern + `/workspaces/` + uuidPattern + `/?$", var.prefect_api_url)) || can(regex("^https?://[^/@?#\\s]+(/[^?#\\s]*)?/api/?$", var.prefect_api_url)) && !can(regex("^https?://([^/]*\\.)?prefect\\.cloud[:/]", var.prefect_api_url))`,
			Message: "The variable prefect_api_url must be https://api.prefect.cloud/api/accounts/<uuid>/workspaces/<uuid>, or the address of a self-hosted API, which ends in /api."})
	variable(stack, "prefect_account_id", env.Prefect.AccountID,
		"Account of Prefect Cloud: the first UUID in the address of the workspace in the browser",
		uuidRule("prefect_account_id"))
	variable(stack, "prefect_workspace_id", env.Prefect.WorkspaceID,
		"Workspace of Prefect Cloud: the second UUID in the address of the workspace in the browser",
		uuidRule("prefect_workspace_id"))

	local(stack, "prefect_api_url", `var.prefect_api_url != "" ? trimsuffix(var.prefect_api_url, "/") : lower("`+config.CloudAPIURL+`${var.prefect_account_id}/workspaces/${var.prefect_workspace_id}")`)
	local(stack, "prefect_api_port", `try(tonumber(regex("^https?://[^/:]+:([0-9]+)/", local.prefect_api_url)[0]), startswith(local.prefect_api_url, "http:") ? 80 : 443)`)
	local(stack, "console_domain", `lookup({ aws-cn = "amazonaws.cn", aws-us-gov = "amazonaws-us-gov.com" }, data.aws_partition.current.partition, "aws.amazon.com")`)
}

// credentialVariable declares the variable with what the worker proves itself by.
func credentialVariable(stack cdktf.TerraformStack, authentication config.Authentication) cdktf.TerraformVariable {
	if authentication == config.AuthBasic {
		return variable(stack, authentication.TerraformVariable(), "",
			"User and password of the Prefect server, user:password, as in its PREFECT_SERVER_API_AUTH_STRING",
			tf.Rule{Condition: `var.prefect_api_auth_string == "" || can(regex("^[ -9;-~]+:[ -~]+$", var.prefect_api_auth_string)) && trimspace(var.prefect_api_auth_string) == var.prefect_api_auth_string`,
				Message: "The variable prefect_api_auth_string must be user:password in one line of ASCII characters. A line break at its end is a frequent slip; the server then refuses it."})
	}
	return variable(stack, authentication.TerraformVariable(), "",
		"API key of the Prefect worker, best one of a service account with the role Worker in the workspace",
		tf.Rule{Condition: `can(regex("^[!-~]*$", var.prefect_api_key))`,
			Message: "The variable prefect_api_key must be one line without spaces. A line break at its end is a frequent slip; Prefect fails with it at run time (Illegal header value)."})
}

// apiRequirements returns what the variables of the API must satisfy together, checked when
// the task definition is planned.
func apiRequirements(env *config.Environment) *cdktf.TerraformResourceLifecycle {
	port := config.APIPort(env.Prefect.APIURL)
	if env.Server.Enabled {
		return tf.Preconditions(tf.Rule{Condition: fmt.Sprintf(`var.prefect_api_url == %q`, env.Prefect.APIURL),
			Message: "The environment has a Prefect server of its own, and the variable prefect_api_url names another API. Remove the variable, or server.enabled."})
	}
	return tf.Preconditions(
		tf.Rule{Condition: `var.prefect_api_url != "" || var.prefect_account_id != "" && var.prefect_workspace_id != ""`,
			Message: "The worker has no Prefect API. Set the variables prefect_account_id and prefect_workspace_id, or prefect_api_url, with TF_VAR_... or in terraform.tfvars."},
		tf.Rule{Condition: fmt.Sprintf("contains([443%s], local.prefect_api_port)", further(port, ", %d")),
			Message: fmt.Sprintf("The worker's security group lets it connect to port 443%s only, and the Prefect API is at port ${local.prefect_api_port}. Set prefect.api_url in config/environments/%s.yaml instead of the variable prefect_api_url: the port is opened for it.", further(port, " and %d"), env.Name)},
	)
}

// further formats the port of the API where it is not 443, which is open anyway.
func further(port int, format string) string {
	if port == 443 {
		return ""
	}
	return fmt.Sprintf(format, port)
}

func uuidRule(name string) tf.Rule {
	return tf.Rule{
		// A UUID of zeros is the sample that stands in dev.yaml.
		Condition: fmt.Sprintf(`var.%[1]s == "" || can(regex("^%[2]s$", var.%[1]s)) && !can(regex("^[0-]*$", var.%[1]s))`, name, uuidPattern),
		Message:   fmt.Sprintf("The variable %s must be a UUID, as in the address of the workspace: app.prefect.cloud/account/<account id>/workspace/<workspace id>.", name),
	}
}

// variable declares a variable. Its construct's id has a prefix, because an output of the
// same name has the plain one, by which the CLI shows it.
func variable(stack cdktf.TerraformStack, name, value, description string, rule tf.Rule) cdktf.TerraformVariable {
	v := cdktf.NewTerraformVariable(stack, jsii.String("variable-"+name), &cdktf.TerraformVariableConfig{
		Type:        jsii.String("string"),
		Description: &description,
		Default:     tf.Literal(value),
		Nullable:    jsii.Bool(false),
		Validation: &[]*cdktf.TerraformVariableValidationConfig{{
			Condition:    jsii.String("${" + rule.Condition + "}"),
			ErrorMessage: &rule.Message,
		}},
	})
	v.OverrideLogicalId(&name)
	return v
}

// local names an expression.
func local(stack cdktf.TerraformStack, name, expression string) {
	cdktf.NewTerraformLocal(stack, jsii.String("local-"+name), "${"+expression+"}").OverrideLogicalId(&name)
}
