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
		return failed("the container gets no "+variable, c.deployFix()).block()
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
		// Both stand for several things; the secret itself tells which.
		described, gone := c.aws.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
		switch {
		case is(gone, "ResourceNotFoundException"):
			return failed("the secret "+name+" does not exist: no task can start", c.deployFix()).block()
		case gone != nil:
			return unread("the secret "+name, gone).block()
		case described.DeletedDate != nil:
			return failed("the secret "+name+" is scheduled for deletion: no task can start", "take it back: aws secretsmanager restore-secret --secret-id "+arn).block()
		}
		return failed("the secret "+name+" has no value: no task can start", store).block()
	case is(err, "DecryptionFailure"):
		return failed("the secret "+name+" cannot be decrypted: "+why(err), "look at its KMS key below").block()
	case err != nil:
		f := unread("the secret "+name, err)
		if c.client.credential = c.opt.Credential; c.client.credential == "" {
			f.fix += fmt.Sprintf("; or give the %s in %s, only for asking the API", noun, variable)
			return f.block()
		}
		return f
	case out.SecretString == nil:
		return failed("the secret "+name+" holds binary data, and ECS hands out text only: no task can start", store).block()
	}

	value, problem := unpack(*out.SecretString, jsonKey)
	if problem != "" {
		return failed(fmt.Sprintf("the secret %s %s", name, problem), "correct secret.json_key, or "+store).block()
	}
	// What is only packed wrongly may be right: the checks of the API go on with it.
	c.client.credential = strings.TrimSpace(value)
	switch {
	case c.client.credential == "":
		return failed("the secret "+name+" is blank", store).block()
	case c.client.credential != value:
		return failed(fmt.Sprintf("the secret %s has a line break or blanks around the %s: Prefect fails with \"Illegal header value\", or the API refuses it", name, noun), store)
	case !printable(value, authentication):
		return failed(fmt.Sprintf("the secret %s holds characters that no %s has", name, noun), store).block()
	case authentication == config.AuthBasic && !strings.Contains(value, ":"):
		return failed(fmt.Sprintf("the secret %s is not user:password", name), store).block()
	}
	return ok("%s holds %s of %d characters", name, map[bool]string{true: "user and password", false: "a key"}[authentication == config.AuthBasic], len(value))
}

// generateFix is for a credential that the stack itself makes.
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
		return "", "does not hold a JSON object, and the task definition asks for its key " + jsonKey
	}
	value, ok := fields[jsonKey].(string)
	if !ok {
		return "", "holds a JSON object without text under " + jsonKey
	}
	return value, ""
}

// printable tells whether a value has only characters that can be in a credential: a key has
// no blanks, a password may.
func printable(value string, authentication config.Authentication) bool {
	lowest := '!'
	if authentication == config.AuthBasic {
		lowest = ' '
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < lowest || r > '~' })
}
