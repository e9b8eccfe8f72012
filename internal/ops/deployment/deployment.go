// Package deployment is one environment as an operator's command works on it: its checkout, its
// configuration with the values of the Terraform variables, its synthesized stack, and the AWS
// account that it is deployed to. Each is made when it is first needed.
package deployment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/terraform/stackjson"
	"prefect-worker-ecs/internal/terraform/terraform"
)

// Deployment is an environment that is deployed, or is to be.
type Deployment struct {
	// Project is the checkout, whose folder is the working directory.
	Project project.Project
	// Environment is the configuration, with the values of the Terraform variables.
	Environment *config.Environment
	// Variables are these values.
	Variables project.Variables
	// Built says that the project's program is built from what is in the checkout. Otherwise the
	// first synth builds it.
	Built bool

	synthesized bool
	aws         *aws.Config
}

// Enter finds the project that the working directory is in and makes its folder the working
// directory, so that paths in messages are those that a person sees there.
func Enter() (project.Project, error) {
	p, err := project.Find(".")
	if err != nil {
		return project.Project{}, err
	}
	return p, os.Chdir(p.Root)
}

// Open enters the project and reads the configuration of an environment, with TF_VAR_... and the
// files of values. It fails with all problems of both.
func Open(environment string) (*Deployment, error) {
	p, err := Enter()
	if err != nil {
		return nil, err
	}
	env, err := config.LoadOne(config.Dir, environment)
	if err != nil {
		return nil, err
	}
	variables, err := project.ReadVariables(p.Root, os.Environ())
	if err != nil {
		return nil, err
	}
	env, problems := env.WithVariables(variables.Lookup)
	if len(problems) > 0 {
		return nil, problems
	}
	return &Deployment{Project: p, Environment: env, Variables: variables}, nil
}

// Synthesize writes the stacks of all environments to the project's folder cdktf.out, once.
func (d *Deployment) Synthesize(ctx context.Context) error {
	if d.synthesized {
		return nil
	}
	program, err := d.program(ctx)
	if err != nil {
		return err
	}
	if err := d.Project.SynthAll(ctx, program); err != nil {
		return err
	}
	d.synthesized = true
	return nil
}

func (d *Deployment) program(ctx context.Context) (string, error) {
	if d.Built {
		return d.Project.Program(), nil
	}
	program, err := d.Project.Build(ctx)
	d.Built = err == nil
	return program, err
}

// Changed makes the next Synthesize run the program again, after a change of the configuration.
func (d *Deployment) Changed() { d.synthesized = false }

// Stack returns the environment's Terraform JSON. It leaves cdktf.out as it is, which Terraform may
// be working with.
func (d *Deployment) Stack(ctx context.Context) ([]byte, error) {
	if d.synthesized {
		return os.ReadFile(project.StackFile(d.Project.Out(), d.Environment.Name))
	}
	program, err := d.program(ctx)
	if err != nil {
		return nil, err
	}
	return project.SynthOne(ctx, program, d.Project.Root, d.Environment.Name)
}

// StackIn returns the stack as its references resolve in an account.
func (d *Deployment) StackIn(ctx context.Context, account string) (*stackjson.Stack, error) {
	file, err := d.Stack(ctx)
	if err != nil {
		return nil, err
	}
	return stackjson.Parse(file, iam.Account{Partition: d.Environment.Partition(), Region: d.Environment.Region, ID: account}, nil)
}

// Terraform returns the environment's stack in cdktf.out, for Terraform. Its messages show no
// credential.
func (d *Deployment) Terraform() (terraform.Stack, error) {
	stack, err := terraform.Open(d.Project, d.Environment.Name)
	stack.Secrets = d.Variables.Credentials()
	return stack, err
}

// AWS returns the configuration of AWS clients: the environment's region, and the credentials of
// the AWS CLI or of the role that they assume (assume_role_arn), as Terraform has them.
func (d *Deployment) AWS(ctx context.Context) (aws.Config, error) {
	if d.aws != nil {
		return *d.aws, nil
	}
	cfg, err := d.callers(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	if role := d.Environment.AssumeRoleARN; role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "workerctl" }))
	}
	d.aws = &cfg
	return cfg, nil
}

// attemptTimeout is how long AWS may take to answer one attempt of a call.
const attemptTimeout = 7 * time.Second

// callers returns the configuration with the credentials of the AWS CLI.
func (d *Deployment) callers(ctx context.Context) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(d.Environment.Region), awsconfig.WithRetryMaxAttempts(2),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(attemptTimeout)), awsconfig.WithLogger(logging.Nop{}))
	if err != nil {
		return aws.Config{}, fmt.Errorf("AWS configuration: %w", err)
	}
	return cfg, nil
}

// Account returns the number of the AWS account.
func (d *Deployment) Account(ctx context.Context) (string, error) {
	cfg, err := d.AWS(ctx)
	if err != nil {
		return "", err
	}
	identity, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("get the caller identity: %w", err)
	}
	return aws.ToString(identity.Account), nil
}

// credentialsTimeout limits CheckCredentials.
const credentialsTimeout = 15 * time.Second

// CheckCredentials says in one line that there are no AWS credentials, or none that AWS accepts.
// Terraform would say so once for each provider and backend, after several seconds.
func (d *Deployment) CheckCredentials(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	cfg, err := d.callers(ctx)
	if err == nil {
		_, err = cfg.Credentials.Retrieve(ctx)
	}
	const login = "log in with aws sso login, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	if err != nil {
		if profile := os.Getenv("AWS_PROFILE"); profile != "" {
			return fmt.Errorf("the AWS profile %s has no usable credentials (%s); %s", profile, cause(err), login)
		}
		return fmt.Errorf("there are no AWS credentials; %s", login)
	}
	identity, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	role := d.Environment.AssumeRoleARN
	switch _, refused := errors.AsType[smithy.APIError](err); {
	case refused:
		return fmt.Errorf("AWS does not accept the credentials (%s); %s", cause(err), login)
	case err != nil:
		return fmt.Errorf("AWS cannot be reached in %s (%s); check the network and the proxy", d.Environment.Region, cause(err))
	case role == "":
		return nil
	}
	if cfg, err = d.AWS(ctx); err == nil {
		_, err = cfg.Credentials.Retrieve(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s is not authorized to assume the role %s of assume_role_arn (%s); let the role's trust policy name it, or use other credentials", aws.ToString(identity.Arn), role, cause(err))
	}
	return nil
}

// cause returns the innermost error of a chain, in one line: what AWS or the system said, without the
// SDK's account of what it tried.
func cause(err error) string {
	if refused, ok := errors.AsType[smithy.APIError](err); ok {
		return refused.ErrorCode() + ": " + refused.ErrorMessage()
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
