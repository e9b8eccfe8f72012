package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"prefect-worker-ecs/config"
)

// secret checks the credential that the worker gets, and keeps it for the checks of the API.
func (c *checklist) secret(ctx context.Context) finding {
	authentication := c.env.Prefect.Authentication
	variable := authentication.Variable()
	if variable == "" {
		return ok("none is needed: prefect.authentication is none")
	}
	arn, jsonKey := c.credentialSource()
	if arn == "" {
		return failed("the container gets no "+variable, c.deployFix()).prerequisite()
	}
	name := secretName(arn)
	noun := authentication.Noun()
	store := fmt.Sprintf("give the right %s in TF_VAR_%s, raise secret.version in config/environments/%s.yaml, and %s",
		noun, authentication.TerraformVariable(), c.env.Name, c.deploy())
	if c.env.GeneratedCredential() {
		store = c.generateFix()
	}
	if c.env.Secret.ExistingARN != "" {
		store = "store the right " + noun + " in the secret, and make the service start new tasks: aws ecs update-service --force-new-deployment"
	}

	out, err := c.aws.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn})
	switch {
	case is(err, "InvalidRequestException", "ResourceNotFoundException"):
		// Both stand for more than one thing; the secret itself shows which.
		described, gone := c.aws.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
		switch {
		case is(gone, "ResourceNotFoundException"):
			return failed("the secret "+name+" does not exist: no task can start", c.deployFix()).prerequisite()
		case gone != nil:
			return unreadable("the secret "+name, gone).prerequisite()
		case described.DeletedDate != nil:
			return failed("the secret "+name+" is scheduled for deletion: no task can start", "restore it: aws secretsmanager restore-secret --secret-id "+arn).prerequisite()
		}
		return failed("the secret "+name+" has no value: no task can start", store).prerequisite()
	case is(err, "DecryptionFailure"):
		return failed("the secret "+name+" cannot be decrypted: "+Reason(err), "look at its KMS key below").prerequisite()
	case err != nil:
		f := unreadable("the secret "+name, err)
		if c.credential = c.opt.Credential; c.credential == "" {
			f.fix += fmt.Sprintf("; or give the %s in %s, for the checks of the API only", noun, variable)
			return f.prerequisite()
		}
		return f
	case out.SecretString == nil && out.SecretBinary == nil:
		return unreadable("the secret "+name, errEmpty).prerequisite()
	case out.SecretString == nil:
		return failed("the secret "+name+" holds binary data, and ECS hands out text only: no task can start", store).prerequisite()
	}

	value, problem := unpack(*out.SecretString, jsonKey)
	if problem != "" {
		return failed(fmt.Sprintf("the secret %s %s", name, problem), "correct secret.json_key, or "+store).prerequisite()
	}
	// What is only packed wrongly may be right: the checks of the API go on with it.
	c.credential = strings.TrimSpace(value)
	switch {
	case c.credential == "":
		return failed("the secret "+name+" is empty but for spaces", store).prerequisite()
	case c.credential != value:
		return failed(fmt.Sprintf("the secret %s has a line break or spaces around the %s: Prefect fails with \"Illegal header value\", or the API rejects it", name, noun), store)
	case !printable(value, authentication):
		return failed(fmt.Sprintf("the secret %s holds characters that no %s has", name, noun), store).prerequisite()
	case authentication == config.AuthBasic && !strings.Contains(value, ":"):
		return failed(fmt.Sprintf("the secret %s is not user:password", name), store).prerequisite()
	}
	return ok("%s holds %s of %d characters", name, map[bool]string{true: "user and password", false: "a key"}[authentication == config.AuthBasic], len(value))
}

// generateFix returns the fix for a credential that the stack itself makes.
func (c *checklist) generateFix() string {
	return fmt.Sprintf("have the stack make new ones, for the server and the worker: raise secret.version in config/environments/%s.yaml and %s", c.env.Name, c.deploy())
}

// unpack takes the value that the container gets: the whole secret, or the value under a key
// of the JSON object in it. problem says why there is none.
func unpack(text, jsonKey string) (value, problem string) {
	var fields map[string]any
	object := json.Unmarshal([]byte(text), &fields) == nil && fields != nil
	switch {
	case jsonKey == "" && object:
		return "", "holds a JSON object, and the container gets it whole"
	case jsonKey == "":
		return text, ""
	case !object:
		return "", "does not hold a JSON object, and the task definition names its key " + jsonKey
	}
	value, ok := fields[jsonKey].(string)
	if !ok {
		return "", "holds a JSON object without text under " + jsonKey
	}
	return value, ""
}

// printable reports whether a value has only characters that can be in a credential: a key has
// no spaces and no quotation marks, a password may.
func printable(value string, authentication config.Authentication) bool {
	if authentication != config.AuthBasic && strings.ContainsAny(value, ` "'`) {
		return false
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}
