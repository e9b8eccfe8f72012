package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// ecsTasks is the service that assumes the roles of a task.
const ecsTasks = "ecs-tasks.amazonaws.com"

// roles checks that the next task can start and do its work: a task that runs has passed
// all this once, but what is taken away now is only seen when it is replaced. The same holds for the probe,
// whose metrics are there for some minutes more.
func (c *checklist) roles(ctx context.Context) finding {
	c.await(checkServer)
	parts := c.taskRoles(ctx, "", "", c.Definition, c.Container)
	if containers := c.server.ContainerDefinitions; len(containers) > 0 {
		parts = append(parts, c.taskRoles(ctx, "server_", " of the Prefect server", c.server, containers[0])...)
	}
	schedule, _ := c.stack.Resource("aws_scheduler_schedule", "probe")["target"].(map[string]any)
	for _, of := range []struct {
		roleUse
		arn any
	}{
		{flowExecution, c.stack.Output("flow_execution_role_arn")},
		{roleUse{"flow_task", "task role of flow tasks", ecsTasks, "no task can start"}, c.stack.Output("flow_task_role_arn")},
		{roleUse{"probe", "role of the probe", "lambda.amazonaws.com", "the probe cannot run"}, c.stack.Resource("aws_lambda_function", "probe")["role"]},
		{roleUse{"probe_schedule", "role of the probe's schedule", "scheduler.amazonaws.com", "the probe is not started"}, schedule["role_arn"]},
	} {
		if arn, _ := of.arn.(string); arn != "" {
			parts = append(parts, func(f *findings) {
				role := c.role(ctx, f, of.roleUse, arn)
				if role == nil {
					return
				}
				c.neededStatements(f, role)
				if credential, _ := c.credentialSource(); of.roleUse == flowExecution && c.env.FlowsReadCredential() && credential != "" {
					c.readsSecrets(ctx, f, role, []string{credential})
				}
			})
		}
	}
	var f findings
	f.sideBySide(parts...)
	return f.finding("ECS may use them, the image can be pulled, the secrets read and the log written" + c.valuesNotRead())
}

// roleUse is what a role is for.
type roleUse struct {
	// address is its name in the stack, and noun what a person calls it.
	address, noun string
	// service assumes it. Without it, effect is what follows.
	service, effect string
}

// flowExecution is with what ECS starts the tasks of flow runs.
var flowExecution = roleUse{"flow_execution", "execution role of flow tasks", ecsTasks, "no task can start"}

// valuesNotRead names what containers read that is not looked into, because verify reads no value but the
// credential: the values of parameters, and whether a secret has a key of JSON.
func (c *checklist) valuesNotRead() string {
	credential, _ := c.credentialSource()
	var names []string
	for _, container := range append(slices.Clone(c.server.ContainerDefinitions), c.Container) {
		for _, s := range container.Secrets {
			arn, key := config.SecretReference(aws.ToString(s.ValueFrom))
			if arn != credential && (key != "" || config.IsParameter(arn)) {
				names = append(names, aws.ToString(s.Name))
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; not read: the values of " + strings.Join(slices.Compact(names), ", ")
}

// taskRoles returns the checks of both roles of a task definition. Their addresses in the stack begin
// with prefix, and of is said behind their nouns.
func (c *checklist) taskRoles(ctx context.Context, prefix, of string, definition types.TaskDefinition, container types.ContainerDefinition) []func(*findings) {
	return []func(*findings){
		func(f *findings) {
			if execution := c.role(ctx, f, roleUse{prefix + "execution", "execution role" + of, ecsTasks, "no task can start"}, aws.ToString(definition.ExecutionRoleArn)); execution != nil {
				c.execution(ctx, f, execution, container)
			}
		},
		func(f *findings) {
			if task := c.role(ctx, f, roleUse{prefix + "task", "task role" + of, ecsTasks, "no task can start"}, aws.ToString(definition.TaskRoleArn)); task != nil {
				c.neededStatements(f, task)
			}
		},
	}
}

// role is a role as IAM has it.
type role struct {
	roleUse
	name, arn string
	identity  []iam.Document
	boundary  []iam.Document
	// needed are the inline policies that the stack gives the role, or what it says that a role which
	// exists must be allowed.
	needed []string
	// fix is what to do when it may not what it must.
	fix string
}

// allows decides what the role may do. A statement of the resource's own policy that names the role, or everyone, needs
// none in the policies of the role.
func (r *role) allows(request iam.Request, resource ...iam.Document) iam.Result {
	request.Caller = r.arn
	if denied := iam.Evaluate([]iam.Document{iam.Denies(resource)}, request); denied.Decision != iam.Denied {
		denied.Statement += " of the resource's own policy"
		return denied
	}
	result := iam.Evaluate(r.identity, request)
	if result.Decision == iam.Denied {
		direct := request
		direct.Direct = true
		result = iam.Evaluate(resource, direct)
	}
	if r.boundary != nil {
		result = result.Within(r.boundary, request)
	}
	return result
}

// role reads a role. It returns nil if it cannot.
func (c *checklist) role(ctx context.Context, f *findings, use roleUse, arn string) *role {
	address, noun := use.address, use.noun
	r := &role{roleUse: use, name: iam.ResourceName(arn), arn: arn, fix: c.deploy()}
	if c.stack.Resource("aws_iam_role", address) == nil {
		r.fix = "the role is not the program's: give it a trust policy for " + use.service
		if needed, ok := c.stack.Output(address + "_role_policy").(string); ok {
			r.needed = append(r.needed, needed)
			r.fix += fmt.Sprintf(", and give it what the output %s_role_policy says (make output ENV=%s)", address, c.env.Name)
		}
	}
	for _, name := range c.stack.Names("aws_iam_role_policy") {
		policy := c.stack.Resource("aws_iam_role_policy", name)
		if of, _ := stackjson.Address(policy["role"]); of == "aws_iam_role."+address || policy["role"] == r.name {
			document, _ := policy["policy"].(string)
			r.needed = append(r.needed, document)
		}
	}
	if arn == "" {
		f.failed("the task definition has no "+noun, c.deploy())
		return nil
	}
	found, err := c.aws.Role(ctx, r.name)
	switch {
	case is(err, "NoSuchEntity", "NoSuchEntityException"):
		f.failed(fmt.Sprintf("the %s %s does not exist, so that %s", noun, r.name, r.effect), r.fix)
		return nil
	case err != nil:
		f.unreadable(fmt.Sprintf("the %s %s", noun, r.name), err)
		return nil
	}
	c.trust(f, r, found.TrustPolicy)

	if r.identity, r.boundary, err = iam.ReadPolicies(ctx, c.aws.Client, r.name, found.Boundary); err != nil {
		f.unreadable(fmt.Sprintf("the policies of the %s %s", noun, r.name), err)
		return nil
	}
	return r
}

// trust checks that its service may assume the role. The source of ECS is the account's: it cannot be
// narrowed to a cluster ("Amazon ECS task IAM role" in the developer guide). That of a schedule is its group
// ("Confused deputy prevention" in the EventBridge Scheduler user guide).
func (c *checklist) trust(f *findings, r *role, policy string) {
	document, ok := f.policy(policy, "the trust policy of the "+r.noun)
	if !ok {
		return
	}
	account := c.accountOf(r.arn)
	source := account.Of("ecs", "*")
	if r.service == "scheduler.amazonaws.com" {
		source = account.Of("scheduler", "schedule-group/default")
	}
	result := iam.Evaluate(document, iam.Request{
		Action: "sts:AssumeRole", Caller: r.service,
		Context: map[string][]string{
			"aws:sourceaccount":   {account.ID},
			"aws:sourcearn":       {source},
			"aws:securetransport": {"true"},
		},
	})
	f.decided(result, fmt.Sprintf("its trust policy lets %s assume the %s %s", r.service, r.noun, r.name),
		fmt.Sprintf("%s may not assume the %s %s: its trust policy does not allow it, so that %s", r.service, r.noun, r.name, r.effect), r.fix)
}

// requestContext returns the condition keys that are known of a call by one of the roles.
func (c *checklist) requestContext(r *role) map[string][]string {
	now := time.Now().UTC().Format(time.RFC3339)
	return map[string][]string{
		"aws:currenttime":      {now},
		"aws:tokenissuetime":   {now}, // the next task gets new credentials
		"aws:securetransport":  {"true"},
		"aws:requestedregion":  {c.opt.AWS.Region},
		"aws:principalarn":     {r.arn},
		"aws:principalaccount": {c.accountOf(r.arn).ID},
		"aws:principaltype":    {"AssumedRole"},
		"aws:viaawsservice":    {"false"},
	}
}

// accountOf returns the account in the ARN of a role, in the region of the deployment: that ARN has none.
func (c *checklist) accountOf(role string) iam.Account {
	account := iam.AccountOf(role)
	account.Region = c.opt.AWS.Region
	return account
}

// execution checks what ECS does with an execution role before its container starts.
func (c *checklist) execution(ctx context.Context, f *findings, r *role, container types.ContainerDefinition) {
	var secrets []string
	for _, secret := range container.Secrets {
		secrets = append(secrets, aws.ToString(secret.ValueFrom))
	}
	c.readsSecrets(ctx, f, r, secrets)
	if from := container.RepositoryCredentials; from != nil {
		arn := aws.ToString(from.CredentialsParameter)
		c.need(f, r, "secretsmanager:GetSecretValue", arn, "the image cannot be pulled", c.secretPolicy(ctx, f, arn)...)
		c.secretKey(ctx, f, r, arn)
	}

	need := func(action, resource, what string) { c.need(f, r, action, resource, what) }
	account := c.accountOf(r.arn)
	logs := container.LogConfiguration
	if logs == nil || logs.LogDriver != "awslogs" || logs.Options["awslogs-group"] == "" {
		f.failed("the container "+aws.ToString(container.Name)+" writes no log to CloudWatch: its log driver is not awslogs, or has no group", c.deploy())
	} else {
		stream := account.Of("logs", fmt.Sprintf("log-group:%s:log-stream:%s/%s/0",
			logs.Options["awslogs-group"], logs.Options["awslogs-stream-prefix"], aws.ToString(container.Name)))
		need("logs:CreateLogStream", stream, "no task can start")
		need("logs:PutLogEvents", stream, "nothing of the container's output is kept")
	}
	if key := c.env.Logs.KMSKeyARN; key != "" {
		c.key(ctx, f, key, "the log group", "no line of a log is kept")
	}
	c.pulls(ctx, f, r, aws.ToString(container.Image))
}

// pulls checks that a role may pull an image from ECR, and that one of this account is there.
func (c *checklist) pulls(ctx context.Context, f *findings, r *role, image string) {
	in, inECR := config.ParseECRImage(image)
	if !inECR {
		return
	}
	own := in.Account == c.stack.Account().ID
	var policy []iam.Document
	if own {
		c.image(ctx, f, image, in)
		policy = c.repositoryPolicy(ctx, f, in)
	} else {
		other := *r
		other.fix = "use an image in ECR of this account, or allow it in the policies of the role and of the repository"
		r = &other
	}
	registry := iam.Account{Partition: c.accountOf(r.arn).Partition, Region: in.Region, ID: in.Account}
	c.need(f, r, "ecr:GetAuthorizationToken", "*", "the image cannot be pulled")
	for _, action := range []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"} {
		c.need(f, r, action, registry.Of("ecr", "repository/"+in.Repository), "the image cannot be pulled", policy...)
	}
}

// repositoryPolicy returns the policy of a repository in this account's ECR, if it has one.
func (c *checklist) repositoryPolicy(ctx context.Context, f *findings, in config.ECRImage) []iam.Document {
	text, err := c.aws.In(in.Region).RepositoryPolicy(ctx, in.Account, in.Repository)
	switch {
	case is(err, "RepositoryPolicyNotFoundException", "RepositoryNotFoundException"):
		return nil
	case err != nil:
		f.unreadable("the policy of the repository "+in.Repository, err)
		return nil
	}
	document, _ := f.policy(text, "the policy of the repository "+in.Repository)
	return document
}

// image checks that an image in this account's ECR is there.
func (c *checklist) image(ctx context.Context, f *findings, image string, in config.ECRImage) {
	id := query.ImageID{Digest: in.Digest}
	if in.Digest == "" {
		id.Tag = in.Tag
	}
	found, err := c.aws.In(in.Region).Image(ctx, in.Account, in.Repository, id)
	switch err = orEmpty(err, found == 0); {
	case is(err, "RepositoryNotFoundException", "ImageNotFoundException"):
		f.failed(fmt.Sprintf("the image %s is not in ECR, so that no task can start with it", image), "push it, or name another one (worker.image, work_pool.job.image, or that of the deployment)")
	case err != nil:
		f.unreadable("the image "+image, err)
	}
}

// need checks that a role may make a call, by its own policies or that of the resource; what says what follows if it
// may not.
func (c *checklist) need(f *findings, r *role, action, resource, what string, policy ...iam.Document) {
	result := r.allows(iam.Request{Action: action, Resource: resource, Context: c.requestContext(r)}, policy...)
	f.decided(result, fmt.Sprintf("the %s %s may call %s", r.noun, r.name, action),
		fmt.Sprintf("the %s %s may not call %s on %s, so that %s", r.noun, r.name, action, resource, what), r.fix)
}

// secretPolicy returns the secret's own policy, if it has one.
func (c *checklist) secretPolicy(ctx context.Context, f *findings, arn string) []iam.Document {
	out, err := c.aws.secrets.GetResourcePolicy(ctx, &secretsmanager.GetResourcePolicyInput{SecretId: &arn})
	if err == nil && out.ARN == nil {
		err = errEmpty
	}
	switch {
	case is(err, "ResourceNotFoundException"):
		return nil // the check of the secret says so
	case err != nil:
		f.unreadable("the policy of the secret "+secretName(arn), err)
		return nil
	case aws.ToString(out.ResourcePolicy) == "":
		return nil
	}
	document, _ := f.policy(*out.ResourcePolicy, "the policy of the secret "+secretName(arn))
	return document
}

// hasCurrent reports whether one of a secret's versions is the current one.
func hasCurrent(versions map[string][]string) bool {
	for _, stages := range versions {
		if slices.Contains(stages, "AWSCURRENT") {
			return true
		}
	}
	return false
}

// secretKey checks that a secret is there and has a value, and under a customer's key that it can be
// decrypted.
func (c *checklist) secretKey(ctx context.Context, f *findings, r *role, arn string) {
	secret, err := c.aws.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
	if err == nil && secret.ARN == nil {
		err = errEmpty
	}
	credential, _ := c.credentialSource()
	switch {
	case is(err, "ResourceNotFoundException") && arn == credential, err == nil && arn == credential && secret.DeletedDate != nil:
		return // the check of the secret reports it
	case is(err, "ResourceNotFoundException"):
		f.failed(fmt.Sprintf("the secret %s does not exist, so that no task can start", secretName(arn)), "create it, or take it out of the configuration")
		return
	case err != nil:
		f.unreadable("the secret "+secretName(arn), err)
		return
	case secret.DeletedDate != nil:
		f.failed(fmt.Sprintf("the secret %s is scheduled for deletion, so that no task can start", secretName(arn)), "restore it: aws secretsmanager restore-secret --secret-id "+arn)
		return
	case arn != credential && !hasCurrent(secret.VersionIdsToStages):
		f.failed(fmt.Sprintf("the secret %s has no value, so that no task can start", secretName(arn)), "store a value: aws secretsmanager put-secret-value --secret-id "+arn)
		return
	}
	id := aws.ToString(secret.KmsKeyId)
	if strings.HasSuffix(id, "alias/aws/secretsmanager") {
		id = "" // AWS's own key, which everybody in the account may use through Secrets Manager
	}
	if id != "" {
		c.decrypts(ctx, f, r, id, "the secret "+secretName(arn), "secretsmanager", map[string][]string{"kms:encryptioncontext:secretarn": {arn}})
	}
}

// decrypts checks that a role may decrypt a secret or a parameter, of, under a customer's key, which a service does
// for it.
func (c *checklist) decrypts(ctx context.Context, f *findings, r *role, id, of, service string, further map[string][]string) {
	key, usable := c.key(ctx, f, id, of, "no task can start")
	if !usable {
		return
	}
	request := iam.Request{Action: "kms:Decrypt", Resource: key, Caller: r.arn, Context: c.requestContext(r)}
	request.Context["kms:viaservice"] = []string{service + "." + c.opt.AWS.Region + ".amazonaws.com"}
	request.Context["kms:calleraccount"] = []string{c.accountOf(r.arn).ID}
	maps.Copy(request.Context, further)

	// The key's policy allows it by itself, or leaves the decision to IAM by naming the account.
	policy, err := c.aws.kms.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &id, PolicyName: aws.String("default")})
	if err != nil {
		f.unreadable("the policy of the KMS key of "+of, err)
		return
	}
	document, ok := f.policy(aws.ToString(policy.Policy), "the policy of the KMS key of "+of)
	if !ok {
		return
	}
	result := iam.Evaluate(document, request)
	if result.Decision == iam.Allowed {
		result = r.allows(request, document...)
	}
	if result.Decision != iam.Denied || !c.granted(ctx, f, id, r) {
		f.decided(result, fmt.Sprintf("the %s may decrypt %s", r.noun, of),
			fmt.Sprintf("the %s %s may not call kms:Decrypt on the key of %s, so that no task can start", r.noun, r.name, of), r.fix)
	}
}

// key checks that the KMS key of something can be used, and returns its ARN; effect is what follows if it cannot.
func (c *checklist) key(ctx context.Context, f *findings, id, of, effect string) (arn string, usable bool) {
	key, err := c.aws.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err == nil && key.KeyMetadata == nil {
		err = errEmpty
	}
	switch {
	case is(err, "NotFoundException"):
		f.failed(fmt.Sprintf("the KMS key of %s does not exist, so that %s", of, effect), "give it another key (secret.kms_key_arn, worker.kms_key_arns, logs.kms_key_arn)")
	case err != nil:
		f.unreadable("the KMS key of "+of, err)
	case key.KeyMetadata.KeyState == kmstypes.KeyStatePendingDeletion:
		f.failed(fmt.Sprintf("the KMS key of %s is to be deleted, so that %s", of, effect), fmt.Sprintf("keep it: aws kms cancel-key-deletion --key-id %[1]s, and aws kms enable-key --key-id %[1]s", id))
	case !key.KeyMetadata.Enabled:
		f.failed(fmt.Sprintf("the KMS key of %s is %s, so that %s", of, key.KeyMetadata.KeyState, effect), "enable it: aws kms enable-key --key-id "+id)
	default:
		return aws.ToString(key.KeyMetadata.Arn), true
	}
	return "", false
}

// granted reports whether a grant lets a role decrypt with a key.
func (c *checklist) granted(ctx context.Context, f *findings, key string, r *role) bool {
	out, err := c.aws.kms.ListGrants(ctx, &kms.ListGrantsInput{KeyId: &key, GranteePrincipal: &r.arn})
	if err != nil {
		f.unreadable("the grants of the KMS key "+key, err)
		return false
	}
	return slices.ContainsFunc(out.Grants, func(g kmstypes.GrantListEntry) bool {
		return slices.Contains(g.Operations, kmstypes.GrantOperationDecrypt)
	})
}

// neededStatements checks that the role is allowed what the stack says that it needs: nothing
// denies it, and no boundary excludes it.
func (c *checklist) neededStatements(f *findings, r *role) {
	for _, policy := range r.needed {
		document, ok := f.policy(policy, "what the "+r.noun+" needs")
		if !ok {
			continue
		}
		for _, statement := range document[0].Statement {
			context := c.requestContext(r)
			for _, keys := range statement.Condition {
				for key, values := range keys {
					context[strings.ToLower(key)] = values[:1]
				}
			}
			for _, action := range statement.Action {
				for _, resource := range statement.Resource {
					request := iam.Request{Action: action, Context: context}
					request.Resource, _ = request.Substitute(c.known(resource)) // a request has no variable of a policy
					f.decided(r.allows(request), fmt.Sprintf("the %s %s may call %s", r.noun, r.name, action),
						fmt.Sprintf("the %s %s may not call %s on %s, which it needs", r.noun, r.name, action, stackjson.Shown(request.Resource)), r.fix)
				}
			}
		}
	}
}

// known returns a resource with what is known only after apply: the end of the ARN of a secret, which the
// container's definition says.
func (c *checklist) known(resource string) string {
	for _, secret := range c.Container.Secrets {
		if arn := config.SecretARN(aws.ToString(secret.ValueFrom)); stackjson.Same(resource, arn) {
			return arn
		}
	}
	return resource
}

// secretName returns the name in a secret's ARN, with the six characters of AWS.
func secretName(arn string) string { return arn[strings.LastIndex(arn, ":")+1:] }

// credentialSource returns where the container gets the worker's credential.
func (c *checklist) credentialSource() (arn, jsonKey string) {
	for _, s := range c.Container.Secrets {
		if aws.ToString(s.Name) == c.env.Prefect.Authentication.Variable() {
			return config.SecretReference(aws.ToString(s.ValueFrom))
		}
	}
	return "", ""
}
