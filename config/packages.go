package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	version "github.com/aquasecurity/go-pep440-version"
	"github.com/distribution/reference"
)

// PipPackages returns all packages to install when the container starts: the configured
// ones and, for an ecs pool whose image lacks it, the release of prefect-aws that
// fits the image's Prefect.
func (e *Environment) PipPackages() []string {
	packages := append([]string(nil), e.Worker.ExtraPipPackages...)
	if runtime, err := e.Worker.Runtime(); err == nil && e.WorkPool.FlowsAreTasks() && !runtime.PrefectAWS && !hasPackage(packages, "prefect-aws") {
		packages = append(packages, "prefect-aws=="+runtime.prefectAWS())
	}
	return packages
}

// ImagePackages returns the packages that an ecs pool's worker finds in its image beside Prefect: a local run, which has no
// images, installs them.
func (e *Environment) ImagePackages() []string {
	if runtime, err := e.Worker.Runtime(); err == nil && e.WorkPool.FlowsAreTasks() && runtime.PrefectAWS {
		return []string{"prefect-aws==" + runtime.prefectAWS()}
	}
	return nil
}

// prefectAWS returns the release of prefect-aws that fits. There is one for each supported release of Prefect.
func (r Runtime) prefectAWS() string {
	i := slices.IndexFunc(prefectAWSPins, func(pin prefectAWSPin) bool { return pin.prefect.Check(r.Prefect) })
	return prefectAWSPins[i].release
}

// requirement splits what the format pip-requirement accepts: name, extras, versions.
var requirement = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[A-Za-z0-9._,-]+\])?(.*)$`)

// separators are equal in names of packages: the normalized name of the Python packaging
// specifications has one hyphen for each run of them.
var separators = regexp.MustCompile(`[-_.]+`)

// packageName returns the normalized name in a requirement, and what it says of versions.
func packageName(text string) (name, versions string) {
	m := requirement.FindStringSubmatch(text)
	if m == nil {
		return "", ""
	}
	return separators.ReplaceAllString(strings.ToLower(m[1]), "-"), m[2]
}

func hasPackage(packages []string, name string) bool {
	return slices.ContainsFunc(packages, func(p string) bool {
		found, _ := packageName(p)
		return found == name
	})
}

// image refuses an image whose content is unknown, or is said to be what it is not.
func (v *validator) image() {
	w := v.env.Worker
	runtime, problem := w.runtime()
	if problem != nil {
		v.reject(problem.Key, problem.Value, problem.Rule, problem.Fix)
		return
	}
	named, err := reference.ParseNormalizedNamed(w.Image)
	if err != nil {
		return // refused above
	}
	v.registry("worker.image", w.Image, reference.Domain(named))
	if v.env.WorkPool.FlowsAreTasks() {
		v.jobImage(runtime)
	}
	if tagged, ok := named.(reference.Tagged); ok && w.PrefectVersion != "" {
		inTag := versionInTag(named.Name(), tagged.Tag())
		if inTag != "" && !strings.HasPrefix(inTag+".", w.PrefectVersion+".") && !strings.HasPrefix(w.PrefectVersion+".", inTag+".") {
			v.reject("worker.prefect_version", w.PrefectVersion, "the tag of the image says Prefect "+inTag, "remove it, or choose the image that has this version", "worker.image")
		}
	}
	if w.PrefectAWSIncluded && named.Name() == prefectImage {
		v.reject("worker.prefect_aws_included", true, "Prefect's own image "+prefectImage+" is without prefect-aws", "remove it: an ecs pool gets the package that fits by itself", "worker.image")
	}
	if v.env.WorkPool.FlowsAreTasks() && !runtime.PrefectAWS && !runtime.Official && !hasPackage(w.ExtraPipPackages, "prefect-aws") {
		v.reject("worker.image", w.Image, "an ecs pool needs prefect-aws, and only the entrypoint of Prefect's own images installs packages at start",
			"build prefect-aws into the image and set worker.prefect_aws_included to true, or use one of Prefect's images")
	}
	if !runtime.Official && len(w.ExtraPipPackages) > 0 {
		v.reject("worker.extra_pip_packages", strings.Join(w.ExtraPipPackages, " "), "only the entrypoint of Prefect's own images installs packages at start, and worker.image is another one", "build the packages into the image")
	}
}

// jobImage rejects an image of flow tasks that ECS cannot pull, or that holds another major version of
// Prefect than the worker's.
func (v *validator) jobImage(runtime Runtime) {
	image := v.env.WorkPool.Job.Image
	if image == "" {
		return // the worker's
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		v.reject("work_pool.job.image", image, formats["image"].rule+", but "+err.Error(), "write for example prefecthq/prefect:3.9.1-python3.12")
		return
	}
	v.registry("work_pool.job.image", image, reference.Domain(named))
	in, inECR := ParseECRImage(image)
	if own := v.env.account(); inECR && v.env.IAM.Existing.FlowExecutionRole == "" && (in.Region != v.env.Region || own != "" && in.Account != own) {
		v.reject("work_pool.job.image", image, "the execution role of flow tasks pulls from ECR of its own account and region only", "push or replicate the image there, or name a role that may pull it (iam.existing.flow_execution_role)", "worker.image")
	}
	tagged, ok := named.(reference.Tagged)
	_, digested := named.(reference.Digested)
	if official := named.Name() == prefectImage || named.Name() == prefectAWSImage; official && !digested && (!ok || tagged.Tag() == "latest") {
		v.reject("work_pool.job.image", image, "the tag latest, or none, moves to the next major version of Prefect without notice", "name a version, for example prefecthq/prefect:3.9.1-python3.12")
	}
	if !ok {
		return
	}
	if in := parseVersion(versionInTag(named.Name(), tagged.Tag())); in != nil && int(in.Major()) != runtime.Major() {
		v.reject("work_pool.job.image", image, fmt.Sprintf("a worker of Prefect %d cannot run flows of Prefect %d", runtime.Major(), in.Major()), "use an image with the worker's major version", "worker.image")
	}
}

// registry refuses a registry from which a task cannot pull: ECS pulls through the task's own
// network interface, so by the rules of its security group.
func (v *validator) registry(key, image, domain string) {
	u, err := url.Parse("https://" + domain)
	if err != nil {
		return // no host, which the reference's own rules refuse
	}
	if in, inECR := ParseECRImage(image); inECR && awsRegions[in.Region].ID() != v.env.Partition() {
		v.reject(key, image, "the registry is in no region of the partition "+v.env.Partition(), "push the image to a registry in "+v.env.Region, "region")
	}
	if _, inECR := ParseECRImage(image); !inECR && strings.Contains(domain, ".dkr.ecr.") {
		v.reject(key, image, "a registry of ECR is ACCOUNT.dkr.ecr.REGION.amazonaws.com, with the 12 digits of the account", "correct the host")
	} else if inECR && v.env.Worker.RegistryCredentials != "" {
		v.reject("worker.registry_credentials", v.env.Worker.RegistryCredentials, "ECS does not sign in to ECR with user and password, and an image is there: "+image, "remove it: the execution role pulls from ECR", key)
	}
	if why := v.env.unreachable(u.Hostname()); why != "" {
		v.reject(key, image, "a task on Fargate cannot reach "+why, "push the image to a registry that it can reach, such as ECR")
	}
	port := APIPort("https://" + domain)
	if port != 443 && port != APIPort(v.env.Prefect.APIURL) && !v.env.Network.opens(port) {
		v.reject(key, image, "the worker may connect to port 443 and to that of the Prefect API only, and the registry is at port "+u.Port(), "push the image to a registry at port 443, such as ECR, or open the port (network.egress)", "prefect.api_url")
	}
}

// packages refuses requirements that pip cannot read, and those that would replace the
// Prefect of the image.
func (v *validator) packages() {
	runtime, err := v.env.Worker.Runtime()
	seen := map[string]string{}
	for i, text := range v.env.Worker.ExtraPipPackages {
		key := fmt.Sprintf("worker.extra_pip_packages[%d]", i)
		name, versions := packageName(text)
		if versions = strings.TrimRight(versions, ","); versions != "" && !strings.HasPrefix(versions, "===") {
			if _, bad := version.NewSpecifiers(versions); bad != nil {
				v.reject(key, text, "pip cannot read the version (PEP 440): "+bad.Error(), "write for example s3fs==2025.3.0 or boto3>=1,<2")
			}
		}
		if first, twice := seen[name]; twice && name != "" {
			v.reject(key, text, "pip refuses one package twice, and "+first+" is the same (PEP 503)", "remove one of them")
		}
		seen[name] = text
		switch {
		case name == "prefect" || name == "prefect-client":
			v.reject(key, text, "installing "+name+" at start would replace the Prefect of the image", "choose another worker.image")
		case err != nil:
		case name == "prefect-aws":
			v.prefectAWS(key, text, runtime)
		case strings.HasPrefix(name, "prefect-") && !strings.HasPrefix(versions, "==") && runtime.Prefect.Minor() != newest:
			v.reject(key, text, "an integration requires a range of Prefect, and its newest release would replace the image's", "pin it with == to a release that allows Prefect "+shortVersion(runtime), "worker.image")
		case strings.HasPrefix(name, "prefect-") && !strings.HasPrefix(versions, "==") && runtime.Major() == 2:
			v.reject(key, text, "the newest releases of the integrations require Prefect 3, and would replace the Prefect 2 of the image", "pin it with == to a release that allows Prefect 2", "worker.image")
		}
	}
}

// shortVersion returns Prefect's version without the parts that a floating tag leaves open.
func shortVersion(r Runtime) string {
	return strings.ReplaceAll(r.Prefect.String(), fmt.Sprintf(".%d", newest), "")
}

// prefectAWS refuses a release of prefect-aws that would change the image's Prefect.
func (v *validator) prefectAWS(key, requirement string, runtime Runtime) {
	pin := runtime.prefectAWS()
	_, text, exact := strings.Cut(requirement, "==")
	release := parseVersion(text)
	// prefect-aws 0.5.0 was the first that requires Prefect 3 (its metadata on PyPI).
	before3 := release != nil && release.LessThan(parseVersion("0.5.0"))
	// A release that is newer than the one for the image's Prefect requires a newer Prefect.
	tooNew := release != nil && runtime.Prefect.Minor() != newest && release.GreaterThan(parseVersion(pin))
	if !exact || release == nil || tooNew || before3 != (runtime.Major() == 2) {
		v.reject(key, requirement, fmt.Sprintf("prefect-aws is pinned to a release for Prefect %s, or its installation replaces the Prefect of the image", shortVersion(runtime)),
			fmt.Sprintf("write prefect-aws==%s, or remove the entry: an ecs pool gets it by itself", pin))
	}
}
