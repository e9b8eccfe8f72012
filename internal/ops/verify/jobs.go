package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/prefect/workpool"
)

// jobs checks what the worker makes of the pool's template: with its defaults, and with the job variables of
// each deployment.
func (c *checklist) jobs(ctx context.Context) finding {
	wanted, template := workpool.Configured(c.env), workpool.Template(c.Pool.BaseJobTemplate)
	ecsPool := c.env.WorkPool.FlowsAreTasks()
	if ecsPool {
		var err error
		if wanted, err = workpool.Read(ctx, c.opt.AWS, c.env); err != nil {
			return unreadable("where the tasks of flow runs are to run", err)
		}
		if f := c.template(wanted, template); f.status != OK {
			return f
		}
	}
	if len(template) == 0 {
		return finding{status: OK} // the first worker fills it in
	}
	url := c.Variable("PREFECT_API_URL")
	major := c.env.PrefectMajor()
	job := template.Job(c.Pool.Name, nil, major)
	problems := wanted.Problems(job, url)
	if ecsPool {
		problems = append(problems, wanted.Fixed(job)...)
	}
	if len(problems) > 0 {
		return failed("no flow run works with the template of "+c.Pool.Name+"\n"+strings.Join(problems, "\n"), workpool.ResetFix)
	}
	var f findings
	unproven := job.Unproven()
	if !c.opt.Flow {
		since := aws.ToTime(c.Deployment.CreatedAt)
		if c.Pool.Updated.After(since) {
			since = c.Pool.Updated
		}
		c.unproven(ctx, &f, unproven, c.Pool.Name, "", since)
	}
	images, secrets := []string{job.Image()}, job.Secrets()
	c.deployments(ctx, &f, func(variables map[string]any) (problems, further []string) {
		job := template.Job(c.Pool.Name, variables, major)
		images, secrets = append(images, job.Image()), append(secrets, job.Secrets()...)
		return wanted.Problems(job, url), slices.DeleteFunc(job.Unproven(), func(setting string) bool { return slices.Contains(unproven, setting) })
	})
	c.starts(ctx, &f, job, images, secrets)
	return f.finding("")
}

// template compares the place of flow tasks in the template of an ecs pool with that of the worker.
func (c *checklist) template(wanted workpool.Wanted, template workpool.Template) finding {
	_, changes, err := wanted.Fit(template)
	fix := "workerctl pool apply " + c.env.Name
	switch {
	case len(template) == 0:
		return failed("the template of "+c.Pool.Name+" is empty: a flow run would be started in the account's default cluster and network", fix)
	case err != nil:
		return failed(err.Error(), fix)
	case len(changes) > 0:
		lines := []string{"the template of " + c.Pool.Name + " is not that of the deployment"}
		for _, change := range changes {
			lines = append(lines, change.Difference())
		}
		return failed(strings.Join(lines, "\n"), fix)
	}
	return finding{status: OK}
}

// readImages is how many images of flow tasks are looked up.
const readImages = 20

// starts checks that the flow execution role may pull the images of flow tasks that are in ECR, and read the secrets of
// their containers.
func (c *checklist) starts(ctx context.Context, f *findings, job workpool.Job, images, secrets []string) {
	images = slices.DeleteFunc(images, func(image string) bool { _, inECR := config.ParseECRImage(image); return !inECR })
	credential, _ := c.credentialSource() // that one is in the check of the roles
	secrets = slices.DeleteFunc(secrets, func(from string) bool { return config.SecretARN(from) == credential })
	if len(images)+len(secrets) == 0 {
		return
	}
	arn, _ := job.Definition["executionRoleArn"].(string)
	role := c.role(ctx, f, flowExecution, arn)
	if role == nil {
		return
	}
	parts := []func(*findings){func(f *findings) { c.readsSecrets(ctx, f, role, secrets) }}
	slices.Sort(images)
	for _, image := range slices.Compact(images) {
		parts = append(parts, func(f *findings) { c.pulls(ctx, f, role, image) })
	}
	f.sideBySide(parts[:min(1+readImages, len(parts))]...)
}

// unproven says which settings of a job nothing shows to work before a run has completed with them: one of the pool, or of
// a deployment, since a point of time.
func (c *checklist) unproven(ctx context.Context, f *findings, settings []string, of, deployment string, since time.Time) {
	if len(settings) == 0 {
		return
	}
	fix := "workerctl verify --flow runs one"
	if deployment != "" {
		fix = "run it once, or correct its job_variables"
	}
	if completed, err := c.API.Completed(ctx, c.Pool.Name, deployment, since); err != nil {
		f.add(unreachable("whether a flow run has completed", err))
	} else if !completed {
		f.unknown(fmt.Sprintf("flows of %s run with %s; whether that works is not known, because no run has completed since", of, strings.Join(settings, ", ")), fix)
	}
}

// namedDeployments is how many deployments a finding names.
const namedDeployments = 5

// deployments checks the job variables of the pool's deployments: judge returns their problems, and the settings that
// are unproven.
func (c *checklist) deployments(ctx context.Context, f *findings, judge func(variables map[string]any) (problems, settings []string)) {
	all, err := c.API.Deployments(ctx, c.Pool.Name)
	if err != nil {
		f.add(unreachable("the deployments of "+c.Pool.Name, err))
		return
	}
	name := func(d api.Deployment) string {
		if flow, err := c.API.FlowName(ctx, d.FlowID); err == nil {
			return flow + "/" + d.Name
		}
		return d.Name
	}
	bad, unproven := 0, 0
	for _, d := range all {
		problems, settings := judge(d.Variables)
		if len(problems) == 0 {
			if len(settings) > 0 && unproven < namedDeployments {
				unproven++
				c.unproven(ctx, f, settings, "the deployment "+name(d), d.ID, time.Unix(0, 0))
			}
			continue
		}
		if bad++; bad > namedDeployments {
			continue
		}
		f.failed(fmt.Sprintf("no run of the deployment %s works: %s", name(d), strings.Join(problems, "; ")), "correct the job_variables of the deployment and deploy it again")
	}
	if bad > namedDeployments {
		f.failed(fmt.Sprintf("and %d more of %d deployments with job variables", bad-namedDeployments, len(all)), "")
	}
}

// parameter checks that a parameter is there and, under a customer's key, that it can be decrypted.
func (c *checklist) parameter(ctx context.Context, f *findings, r *role, arn string) {
	_, name, _ := strings.Cut(arn, ":parameter/")
	names := []string{"/" + name}
	if !strings.Contains(name, "/") {
		names = append(names, name) // of one part the ARN does not say whether it begins with a slash
	}
	found, key, err := c.aws.Parameter(ctx, names...)
	switch {
	case err != nil:
		f.unreadable("the parameter "+name, err)
	case !found:
		f.failed(fmt.Sprintf("the parameter %s does not exist, so that no task can start", name), "create it, or take it out of the configuration")
	case key != "" && !strings.HasSuffix(key, "alias/aws/ssm"):
		c.decrypts(ctx, f, r, key, "the parameter "+name, "ssm", map[string][]string{"kms:encryptioncontext:parameter_arn": {arn}})
	}
}

// readsSecrets checks that a role may read secrets and parameters.
func (c *checklist) readsSecrets(ctx context.Context, f *findings, r *role, secrets []string) {
	seen := map[string]bool{}
	for _, from := range secrets {
		arn := config.SecretARN(from)
		if seen[arn] {
			continue
		}
		seen[arn] = true
		const what = "no task can start (ResourceInitializationError)"
		if strings.Contains(arn, ":ssm:") {
			c.need(f, r, "ssm:GetParameters", arn, what)
			c.parameter(ctx, f, r, arn)
			continue
		}
		c.need(f, r, "secretsmanager:GetSecretValue", arn, what, c.secretPolicy(ctx, f, arn)...)
		c.secretKey(ctx, f, r, arn)
	}
}
