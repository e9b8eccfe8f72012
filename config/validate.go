package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Validate reports everything in the environment that could not work. None of it asks
// AWS or Prefect: it is what their documentation fixes, and what one part of the
// configuration demands of another.
func (e *Environment) Validate() Problems {
	v := &validator{env: e}
	v.general()
	v.network()
	v.cluster()
	v.worker()
	v.workPool()
	v.packages()
	v.prefect()
	v.secret()
	v.logs()
	v.iam()
	v.backend()
	return v.problems
}

type validator struct {
	env      *Environment
	problems Problems
}

// refuse records a problem with the value at key. related are keys that the problem
// also depends on: when the value is a default, the line of the first of them
// that is in the file is shown.
func (v *validator) refuse(key string, value any, rule, fix string, related ...string) {
	for _, k := range append(related, key) {
		if v.env.source.unread[k] {
			return // the value here is not the user's, and the file's problem is reported already
		}
	}
	p := Problem{File: v.env.source.file, Key: key, Value: fmt.Sprint(value), Rule: rule, Fix: fix}
	if p.File == "" {
		p.File = v.env.Name
	}
	line, given := v.env.source.lines[key]
	p.Line = line
	if !given {
		p.Value += " (the default)"
		for _, other := range related {
			if line, ok := v.env.source.lines[other]; ok {
				p.Line = line
				break
			}
		}
	}
	v.problems = append(v.problems, p)
}

// match refuses a value that the pattern does not accept.
func (v *validator) match(key, value string, pattern *regexp.Regexp, rule, fix string) {
	if !pattern.MatchString(value) {
		v.refuse(key, value, rule, fix)
	}
}

// matchIfSet is match for a value that may be empty.
func (v *validator) matchIfSet(key, value string, pattern *regexp.Regexp, rule, fix string) {
	if value != "" {
		v.match(key, value, pattern, rule, fix)
	}
}

// between refuses a number outside lowest to highest.
func (v *validator) between(key string, value, lowest, highest int, why string) {
	if value < lowest || value > highest {
		v.refuse(key, value, fmt.Sprintf("the value is from %d to %d: %s", lowest, highest, why),
			fmt.Sprintf("set %s to a number from %d to %d", key, lowest, highest))
	}
}

// oneOf refuses a value that is not among the allowed ones.
func oneOf[T ~string](v *validator, key string, value T, allowed ...T) {
	if !slices.Contains(allowed, value) {
		list := quoteAll(allowed)
		v.refuse(key, value, "the value is one of "+list, "write one of them")
	}
}

func quoteAll[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return strings.Join(texts, ", ")
}

// Characters and lengths that AWS accepts, from the API reference of each service.
var (
	environmentName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,28}[a-z0-9]$|^[a-z]$`)
	regionName      = regexp.MustCompile(`^[a-z]{2}(-[a-z]+){1,2}-\d$`)
	accountID       = regexp.MustCompile(`^\d{12}$`)
	nameSuffix      = regexp.MustCompile(`^-[a-z0-9][a-z0-9-]{0,28}$`)
	tagText         = regexp.MustCompile(`^[\p{L}\p{N} _.:/=+\-@]*$`)
	networkName     = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,50}$`)
	ecsName         = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	serviceName     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)
	dnsName         = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	secretName      = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)
	logGroupName    = regexp.MustCompile(`^[A-Za-z0-9_/.#-]{1,512}$`)
	roleName        = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	taskFamily      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	variableName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	secretARN       = regexp.MustCompile(`^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}$`)
	kmsKeyARN       = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$`)
	policyARN       = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]+$`)
	roleARN         = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)
	bucketName      = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	objectKey       = regexp.MustCompile(`^[A-Za-z0-9!_.*'()/-]{1,1000}$`)
	jsonKey         = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	uuid            = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

func (v *validator) general() {
	e := v.env
	if !environmentName.MatchString(e.Name) {
		v.problems = append(v.problems, Problem{File: v.env.source.file, Key: "file name", Value: e.Name,
			Rule: "an environment's name is 1 to 30 lower-case letters, digits and hyphens and begins with a letter: it is the name of the stack and of its state file",
			Fix:  "rename the file, for example to prod.yaml"})
	}
	v.match("region", e.Region, regionName, "a region looks like us-east-1", "write the region's code, for example us-east-1 or eu-central-1")
	v.matchIfSet("account_id", e.AccountID, accountID, "an AWS account id is 12 digits", `write it in quotes, for example "123456789012"`)
	v.matchIfSet("name_suffix", e.NameSuffix, nameSuffix, "a suffix is a hyphen and up to 29 lower-case letters, digits and hyphens", "write for example "+`"-prod"`)
	if len(e.Tags) > 40 {
		v.refuse("tags", fmt.Sprintf("%d tags", len(e.Tags)), "AWS takes 50 tags on a resource, and the program and AWS add some", "leave at most 40")
	}
	for _, key := range sortedKeys(e.Tags) {
		value := e.Tags[key]
		valid := key != "" && utf8.RuneCountInString(key) <= 128 && tagText.MatchString(key) &&
			!strings.HasPrefix(strings.ToLower(key), "aws:") &&
			utf8.RuneCountInString(value) <= 256 && tagText.MatchString(value)
		if !valid {
			v.refuse("tags."+key, value, "a tag's key has 1 to 128 and its value up to 256 letters, digits, blanks and _.:/=+-@, and a key does not begin with aws:", "shorten it or replace the other characters")
		}
	}
	for i, adopt := range e.Adopt {
		oneOf(v, fmt.Sprintf("adopt[%d]", i), adopt, AdoptExecutionRole, AdoptTaskRole, AdoptLogGroup)
		if slices.Contains(e.Adopt[:i], adopt) {
			v.refuse(fmt.Sprintf("adopt[%d]", i), adopt, "each resource is adopted once", "remove the second one")
		}
	}
}

func (v *validator) network() {
	n := v.env.Network
	v.match("network.name", n.Name, networkName, "the name is a tag and part of the names of the flow logs' group and role: 1 to 50 letters, digits and _.-", "shorten it or replace the other characters")
	oneOf(v, "network.nat", n.NAT, NATSingle, NATPerAZ, NATNone)
	oneOf(v, "network.flow_logs", n.FlowLogs, FlowLogsAll, FlowLogsReject, FlowLogsNone)

	public, private := len(n.PublicSubnetCIDRs), len(n.PrivateSubnetCIDRs)
	switch {
	case public == 0:
		v.refuse("network.public_subnet_cidrs", "[]", "at least one public subnet holds the NAT gateway or the worker", "remove the key for the default, or write one CIDR for each availability zone")
	case public != private:
		v.refuse("network.private_subnet_cidrs", fmt.Sprintf("%d subnets", private),
			fmt.Sprintf("there are as many private as public subnets, one pair for each availability zone, and public_subnet_cidrs has %d", public),
			"set both lists, with the same number of CIDRs", "network.public_subnet_cidrs")
	case public > 6:
		v.refuse("network.public_subnet_cidrs", fmt.Sprintf("%d subnets", public), "no region has more than 6 availability zones", "write at most 6")
	}
	if zones := n.AvailabilityZones; len(zones) > 0 {
		if len(zones) != public {
			v.refuse("network.availability_zones", strings.Join(zones, ", "), fmt.Sprintf("there is one zone for each of the %d public subnets", public), "name as many zones as subnets, or remove the key")
		}
		for i, zone := range zones {
			key := fmt.Sprintf("network.availability_zones[%d]", i)
			if !strings.HasPrefix(zone, v.env.Region) || len(zone) != len(v.env.Region)+1 {
				v.refuse(key, zone, "a zone is the region and a letter, and the region is "+v.env.Region, "write for example "+v.env.Region+"a")
			}
			if slices.Contains(zones[:i], zone) {
				v.refuse(key, zone, "each subnet is in another availability zone", "name another zone")
			}
		}
	}
	v.subnets()

	switch w := v.env.Worker; {
	case n.NAT == NATNone && !w.PublicIP:
		v.refuse("network.nat", n.NAT,
			"the worker in its private subnets would have no route to the Prefect API, to the image's registry or to Secrets Manager",
			"set network.nat to single or per_az, or set worker.public_ip to true to run the worker in the public subnets, where nothing can connect to it either")
	case n.NAT != NATNone && w.PublicIP:
		v.refuse("worker.public_ip", true,
			"a worker with a public IP does not use the NAT gateway, which would cost about 32 USD a month for nothing",
			"set network.nat to none, or remove worker.public_ip")
	}
}

func (v *validator) subnets() {
	n := v.env.Network
	vpc, ok := v.cidr("network.vpc_cidr", n.VPCCIDR)
	if !ok {
		return
	}
	type subnet struct {
		key    string
		prefix netip.Prefix
	}
	var known []subnet
	usable := 0
	for _, list := range []struct {
		key   string
		cidrs []string
		hosts bool
	}{
		{"network.public_subnet_cidrs", n.PublicSubnetCIDRs, v.env.Worker.PublicIP},
		{"network.private_subnet_cidrs", n.PrivateSubnetCIDRs, !v.env.Worker.PublicIP},
	} {
		for i, text := range list.cidrs {
			key := fmt.Sprintf("%s[%d]", list.key, i)
			prefix, ok := v.cidr(key, text)
			if !ok {
				continue
			}
			if !vpc.Contains(prefix.Addr()) || prefix.Bits() < vpc.Bits() {
				v.refuse(key, text, "a subnet lies inside the VPC, "+n.VPCCIDR, "choose a range inside it, or set network.vpc_cidr to one that holds the subnets", "network.vpc_cidr", list.key)
			}
			for _, other := range known {
				if other.prefix.Overlaps(prefix) {
					v.refuse(key, text, fmt.Sprintf("subnets do not overlap, and %s is %s", other.key, other.prefix), "choose a range that is free", list.key)
				}
			}
			known = append(known, subnet{key, prefix})
			if list.hosts {
				// AWS keeps five addresses of each subnet.
				usable += 1<<(32-prefix.Bits()) - 5
			}
		}
	}
	// A rolling deployment runs the old and the new tasks side by side.
	if need := 2 * v.env.Worker.DesiredCount; usable > 0 && need > usable {
		v.refuse("worker.desired_count", v.env.Worker.DesiredCount,
			fmt.Sprintf("a deployment runs old and new tasks side by side, here %d, and the worker's subnets have %d free addresses", need, usable),
			"lower it or give the worker larger subnets")
	}
}

// cidr parses an IPv4 range of a size that AWS accepts for VPCs and subnets.
func (v *validator) cidr(key, text string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() {
		v.refuse(key, text, "the value is an IPv4 range in CIDR notation", "write for example 10.0.0.0/16")
		return netip.Prefix{}, false
	}
	if prefix.Masked() != prefix {
		v.refuse(key, text, "a range begins at its first address", "write "+prefix.Masked().String())
		return netip.Prefix{}, false
	}
	if prefix.Bits() < 16 || prefix.Bits() > 28 {
		v.refuse(key, text, "AWS takes ranges from /16 to /28", "choose a size between them")
		return netip.Prefix{}, false
	}
	return prefix, true
}

func (v *validator) cluster() {
	c := v.env.Cluster
	v.match("cluster.name", c.Name, ecsName, "a cluster's name is 1 to 255 letters, digits, hyphens and underscores", "replace the other characters")
	v.match("cluster.namespace", c.Namespace, dnsName, "the namespace is a DNS name in lower case", "write for example default.prefect.local")
	if len(c.Namespace) > 253 {
		v.refuse("cluster.namespace", c.Namespace, "a DNS name has at most 253 characters", "shorten it")
	}
}

// fargateSizes are the memory sizes in MiB that Fargate takes for each CPU size: from,
// to and step. Source: "Task CPU and memory" in the Amazon ECS Developer Guide.
var fargateSizes = map[int]struct{ from, to, step int }{
	256:   {512, 2048, 0},
	512:   {1024, 4096, 1024},
	1024:  {2048, 8192, 1024},
	2048:  {4096, 16384, 1024},
	4096:  {8192, 30720, 1024},
	8192:  {16384, 61440, 4096},
	16384: {32768, 122880, 8192},
}

// fargateMemory lists the memory sizes for a CPU size, none if Fargate lacks it.
func fargateMemory(cpu int) []int {
	size, ok := fargateSizes[cpu]
	switch {
	case !ok:
		return nil
	case size.step == 0:
		return []int{512, 1024, 2048}
	}
	var sizes []int
	for m := size.from; m <= size.to; m += size.step {
		sizes = append(sizes, m)
	}
	return sizes
}

// Memory that a worker needs, in MiB, measured with Prefect 2.20.25 and rounded up: the
// idle worker, and each flow run of a process pool before any code of the user's.
const (
	workerMiB  = 171
	flowRunMiB = 136
)

// APIKeyVariable is the environment variable in which a worker finds its API key.
const APIKeyVariable = "PREFECT_API_KEY"

// reservedVariables are set by the program; a second value would break what they do.
var reservedVariables = map[string]string{
	"PREFECT_API_URL":                        "set prefect.api_url, or the Terraform variable prefect_api_url",
	APIKeyVariable:                           "give the key in the Terraform variable prefect_api_key; it must not stand in a file",
	"PREFECT_WORK_POOL_NAME":                 "set work_pool.name",
	"PREFECT_WORKER_WEBSERVER_HOST":          "remove it: the health check asks 127.0.0.1",
	"PREFECT_WORKER_WEBSERVER_PORT":          "remove it: the health check asks port 8080",
	"EXTRA_PIP_PACKAGES":                     "set worker.extra_pip_packages",
	"ECS_CONTAINER_METADATA_URI_V4":          "remove it: ECS sets it",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "remove it: ECS sets it",
}

func (v *validator) worker() {
	w := v.env.Worker
	v.match("worker.service_name", w.ServiceName, serviceName, "a service's name is 1 to 60 letters, digits, hyphens and underscores: it is part of the worker's name and of an event queue's", "shorten it or replace the other characters")

	if sizes := fargateMemory(w.CPU); sizes == nil {
		v.refuse("worker.cpu", w.CPU, "Fargate takes "+strings.Join(cpuSizes(), ", "), "write one of them; 256 is a quarter of a vCPU")
	} else if !slices.Contains(sizes, w.MemoryMiB) {
		v.refuse("worker.memory", w.MemoryMiB, fmt.Sprintf("with cpu %d Fargate takes a memory of %s MiB", w.CPU, memorySizes(w.CPU)),
			"set worker.memory to one of them, or another worker.cpu", "worker.cpu")
	}
	oneOf(v, "worker.architecture", w.Architecture, X8664, ARM64)
	v.between("worker.desired_count", w.DesiredCount, 0, 100, "0 pauses the worker")
	v.between("worker.stop_timeout", w.StopTimeoutSeconds, 2, 120, "seconds, and 120 is Fargate's maximum")
	v.between("worker.concurrency_limit", w.ConcurrencyLimit, 0, 1000, "0 is the default")
	if v.env.WorkPool.Type == PoolProcess {
		if need := workerMiB + w.ConcurrencyLimit*flowRunMiB; need > w.MemoryMiB {
			v.refuse("worker.concurrency_limit", w.ConcurrencyLimit,
				fmt.Sprintf("the worker takes %d MiB and each flow run of a process pool %d MiB before its own data, here %d of %d MiB", workerMiB, flowRunMiB, need, w.MemoryMiB),
				fmt.Sprintf("set it to %d or give the task more memory", max(1, (w.MemoryMiB-workerMiB)/flowRunMiB)), "worker.memory")
		}
	}

	for _, name := range sortedKeys(w.Environment) {
		key := "worker.environment." + name
		fix, reserved := reservedVariables[name]
		switch {
		case !variableName.MatchString(name):
			v.refuse(key, w.Environment[name], "a variable's name is letters, digits and underscores and does not begin with a digit", "rename it")
		case reserved:
			v.refuse(key, w.Environment[name], "the program sets this variable itself", fix)
		case secretLooking.MatchString(w.Environment[name]):
			v.refuse(key, w.Environment[name], "the value looks like a credential, and variables stand in clear text in the task definition", "put it in Secrets Manager and its ARN in worker.secrets."+name)
		}
	}
	for _, name := range sortedKeys(w.Secrets) {
		key := "worker.secrets." + name
		fix, reserved := reservedVariables[name]
		_, twice := w.Environment[name]
		switch {
		case !variableName.MatchString(name):
			v.refuse(key, w.Secrets[name], "a variable's name is letters, digits and underscores and does not begin with a digit", "rename it")
		case reserved:
			v.refuse(key, w.Secrets[name], "the program sets this variable itself", fix)
		case twice:
			v.refuse(key, w.Secrets[name], "a variable is in worker.environment or in worker.secrets, not in both", "remove one of them")
		case !secretARN.MatchString(w.Secrets[name]):
			v.refuse(key, "(not shown)", "the value is the whole ARN of a secret in Secrets Manager, with the six characters that AWS adds", "copy the ARN from the console or from aws secretsmanager describe-secret")
		}
	}
}

func cpuSizes() []string {
	var texts []string
	for _, cpu := range slices.Sorted(maps.Keys(fargateSizes)) {
		texts = append(texts, strconv.Itoa(cpu))
	}
	return texts
}

func memorySizes(cpu int) string {
	sizes := fargateMemory(cpu)
	if len(sizes) > 4 {
		return fmt.Sprintf("%d to %d in steps of %d", sizes[0], sizes[len(sizes)-1], sizes[1]-sizes[0])
	}
	var texts []string
	for _, size := range sizes {
		texts = append(texts, strconv.Itoa(size))
	}
	return strings.Join(texts, ", ")
}

func (v *validator) workPool() {
	p := v.env.WorkPool
	v.poolName("work_pool.name", p.Name)
	if strings.HasPrefix(strings.ToLower(p.Name), "prefect") {
		v.refuse("work_pool.name", p.Name, "Prefect keeps names that begin with prefect for itself", "choose another name")
	}
	for i, queue := range p.Queues {
		key := fmt.Sprintf("work_pool.queues[%d]", i)
		v.poolName(key, queue)
		if slices.Contains(p.Queues[:i], queue) {
			v.refuse(key, queue, "each queue is named once", "remove the second one")
		}
	}

	kind := strings.ToLower(string(p.Type))
	switch {
	case p.Type == PoolProcess || p.Type == PoolECS:
	case kind == "prefect:managed" || strings.HasSuffix(kind, ":push"):
		v.refuse("work_pool.type", p.Type, "Prefect runs the flows of a managed or push pool itself; a worker that is pointed at one exits with status 1",
			"use a process or ecs pool: on Prefect Cloud with a plan that allows hybrid pools (Starter or above), or on a self-hosted Prefect server through prefect.api_url")
	case kind == "docker" || kind == "kubernetes":
		v.refuse("work_pool.type", p.Type, "a Fargate task has no Docker engine and no Kubernetes to start flow runs with", "use process or ecs")
	default:
		oneOf(v, "work_pool.type", p.Type, PoolProcess, PoolECS)
	}
}

// poolName checks a name of a pool or a queue (raise_on_name_with_banned_characters in
// Prefect's source). Control characters would break the command's display.
func (v *validator) poolName(key, name string) {
	banned := func(r rune) bool { return strings.ContainsRune("/%&<>", r) || r < ' ' || r == 0x7f }
	if name == "" || strings.TrimSpace(name) != name || strings.ContainsFunc(name, banned) {
		v.refuse(key, name, "a name is not empty, has no blanks at its ends and none of / % & < >", "choose another name")
	}
}

func (v *validator) packages() {
	w, pool := v.env.Worker, v.env.WorkPool.Type
	runtime, problem := w.runtime()
	if problem != nil {
		v.refuse(problem.Key, problem.Value, problem.Rule, problem.Fix)
	}

	for i, p := range w.ExtraPipPackages {
		key := fmt.Sprintf("worker.extra_pip_packages[%d]", i)
		switch name := packageName(p); {
		case name == "":
			v.refuse(key, p, "an entry is one package with an optional version and no blanks, since the image splits the list at blanks",
				"write for example s3fs==2025.3.0; for anything else build an image of your own")
		case name == "prefect":
			v.refuse(key, p, "installing prefect at start would replace the one in the image", "choose another worker.image")
		case name == "prefect-aws" && problem == nil:
			v.prefectAWS(key, p, runtime)
		}
	}
	if problem == nil && pool == PoolECS && !runtime.PrefectAWS && !runtime.Official && !hasPackage(w.ExtraPipPackages, "prefect-aws") {
		v.refuse("worker.image", w.Image, "an ecs pool needs prefect-aws, and only the entrypoint of Prefect's own images installs packages at start",
			"build prefect-aws into the image and set worker.prefect_aws_included to true, or use one of Prefect's images")
	}
	if problem == nil && !runtime.Official && len(w.ExtraPipPackages) > 0 {
		v.refuse("worker.extra_pip_packages", strings.Join(w.ExtraPipPackages, " "), "only the entrypoint of Prefect's own images installs packages at start, and worker.image is another one", "build the packages into the image")
	}
}

// prefectAWS refuses a release of prefect-aws that would change the image's Prefect.
func (v *validator) prefectAWS(key, requirement string, runtime Runtime) {
	var pin string
	for _, p := range prefectAWSPins {
		if p.prefect.Check(runtime.Prefect) {
			pin = "prefect-aws==" + p.release
		}
	}
	_, version, exact := strings.Cut(requirement, "==")
	release := parseVersion(version)
	// prefect-aws 0.5.0 was the first that requires Prefect 3 (its metadata on PyPI).
	before3 := release != nil && release.LessThan(parseVersion("0.5.0"))
	if !exact || release == nil || before3 != (runtime.Major() == 2) {
		v.refuse(key, requirement, fmt.Sprintf("prefect-aws is pinned to a release for Prefect %d, or its installation replaces the Prefect of the image", runtime.Major()),
			fmt.Sprintf("write %s, or remove the entry: an ecs pool gets it by itself", pin))
	}
}

func (v *validator) prefect() {
	p := v.env.Prefect
	v.matchIfSet("prefect.account_id", p.AccountID, uuid, "the account is a UUID in lower case", "copy it from the address of your workspace: app.prefect.cloud/account/<this>/workspace/...")
	v.matchIfSet("prefect.workspace_id", p.WorkspaceID, uuid, "the workspace is a UUID in lower case", "copy it from the address of your workspace: app.prefect.cloud/account/.../workspace/<this>")
	if p.APIURL == "" {
		return
	}
	if p.AccountID != "" || p.WorkspaceID != "" {
		v.refuse("prefect.api_url", p.APIURL, "the URL stands alone or is derived from account_id and workspace_id", "remove either the URL or both ids")
	}
	if rule, fix := checkAPIURL(p.APIURL, v.env.LocalRun); rule != "" {
		v.refuse("prefect.api_url", p.APIURL, rule, fix)
	}
}

// CloudAPIURL is how Prefect Cloud's API URL begins.
const CloudAPIURL = "https://api.prefect.cloud/api/accounts/"

var cloudAPIPath = regexp.MustCompile(`^/api/accounts/[0-9a-f-]{36}/workspaces/[0-9a-f-]{36}$`)

// checkAPIURL gives the rule that a URL of the Prefect API breaks and the fix, or nothing.
// Prefect itself only warns of most of this and then fails with 404 at run time.
func checkAPIURL(text string, allowLoopback bool) (rule, fix string) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "the value is an http or https URL without user, query and fragment", "write for example " + CloudAPIURL + "<uuid>/workspaces/<uuid> or https://prefect.example.com/api"
	}
	if u.Port() != "" {
		if port, err := strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
			return "a port is a number from 1 to 65535", "correct the port"
		}
	}
	host := u.Hostname()
	if host == "prefect.cloud" || strings.HasSuffix(host, ".prefect.cloud") {
		if host == "app.prefect.cloud" {
			return "app.prefect.cloud is the web page; the API is at api.prefect.cloud", "write " + CloudAPIURL + "<uuid>/workspaces/<uuid>, with accounts and workspaces in the plural"
		}
		if u.Scheme != "https" || u.Port() != "" || !cloudAPIPath.MatchString(u.Path) {
			return "the API of Prefect Cloud is at " + CloudAPIURL + "<uuid>/workspaces/<uuid>, with accounts and workspaces in the plural", "set prefect.account_id and prefect.workspace_id and remove the URL"
		}
		return "", ""
	}
	if !strings.HasSuffix(u.Path, "/api") {
		return "the URL of a self-hosted API ends in /api", "write " + u.Scheme + "://" + u.Host + "/api"
	}
	ip, err := netip.ParseAddr(host)
	if loopback := host == "localhost" || (err == nil && (ip.IsLoopback() || ip.IsUnspecified())); loopback && !allowLoopback {
		return "a task on Fargate cannot reach this machine's own address", "name the server by an address that the VPC can reach; to try the worker on this machine, run make local"
	}
	return "", ""
}

// APIPort is the TCP port of a Prefect API URL: the one it names, or 80 for http and
// 443 for https. 443 for an empty URL, which stands for Prefect Cloud.
func APIPort(apiURL string) int {
	u, err := url.Parse(apiURL)
	if err != nil || apiURL == "" {
		return 443
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

func (v *validator) secret() {
	s := v.env.Secret
	v.match("secret.name", s.Name, secretName, "a secret's name is 1 to 512 letters, digits and /_+=.@-", "replace the other characters")
	v.between("secret.version", s.Version, 1, 1_000_000, "raise it by one to rotate the key")
	if s.RecoveryWindowDays != 0 {
		v.between("secret.recovery_window_days", s.RecoveryWindowDays, 7, 30, "or 0 to delete at once")
	}
	v.matchIfSet("secret.existing_arn", s.ExistingARN, secretARN,
		"the value is the whole ARN of a secret in Secrets Manager, with the six characters that AWS adds: ECS and the role's policy need it",
		"copy the ARN from the console or from aws secretsmanager describe-secret")
	v.matchIfSet("secret.kms_key_arn", s.KMSKeyARN, kmsKeyARN, "the value is the ARN of a KMS key, not of an alias", "copy it from the console or from aws kms describe-key")
	v.matchIfSet("secret.json_key", s.JSONKey, jsonKey, "a key is 1 to 128 letters, digits and _.-", "rename the key in the secret")
	if s.JSONKey != "" && s.ExistingARN == "" {
		v.refuse("secret.json_key", s.JSONKey, "the secret that the program creates holds the key alone", "remove json_key, or set existing_arn")
	}
}

// logRetentions are the periods that CloudWatch Logs takes, in days (PutRetentionPolicy
// in its API reference). 0 stands for no retention policy.
var logRetentions = []int{0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

func (v *validator) logs() {
	l := v.env.Logs
	v.match("logs.group", l.Group, logGroupName, "a log group's name is 1 to 512 letters, digits and _/.#-", "replace the other characters")
	if strings.HasPrefix(l.Group, "aws/") {
		v.refuse("logs.group", l.Group, "AWS keeps names that begin with aws/ for itself", "choose another name")
	}
	if !slices.Contains(logRetentions, l.RetentionDays) {
		texts := make([]string, len(logRetentions))
		for i, days := range logRetentions {
			texts[i] = strconv.Itoa(days)
		}
		v.refuse("logs.retention_days", l.RetentionDays, "CloudWatch takes "+strings.Join(texts, ", ")+" (0 is for ever)", "write one of them")
	}
	v.matchIfSet("logs.kms_key_arn", l.KMSKeyARN, kmsKeyARN, "the value is the ARN of a KMS key, not of an alias", "copy it from the console or from aws kms describe-key")
}

func (v *validator) iam() {
	i := v.env.IAM
	for _, role := range []struct{ key, name string }{
		{"iam.execution_role_name", i.ExecutionRoleName},
		{"iam.task_role_name", i.TaskRoleName},
	} {
		v.match(role.key, role.name, roleName, "a role's name is 1 to 64 letters, digits and +=,.@_-", "shorten it or replace the other characters")
	}
	if strings.EqualFold(i.ExecutionRoleName, i.TaskRoleName) {
		v.refuse("iam.task_role_name", i.TaskRoleName, "the task's role is another one than the execution role, which may read the API key", "choose another name", "iam.execution_role_name")
	}
	v.matchIfSet("iam.permissions_boundary_arn", i.PermissionsBoundaryARN, policyARN, "the boundary is the ARN of a managed policy", "write for example arn:aws:iam::123456789012:policy/boundary")
	for n, arn := range i.TaskPolicyARNs {
		v.match(fmt.Sprintf("iam.task_policy_arns[%d]", n), arn, policyARN, "the value is the ARN of a managed policy", "write for example arn:aws:iam::123456789012:policy/flows")
	}
	if v.env.WorkPool.Type == PoolProcess && len(i.FlowRoleARNs) > 0 {
		v.refuse("iam.flow_role_arns", strings.Join(i.FlowRoleARNs, ", "), "only the worker of an ecs pool hands roles to flow runs", "remove it; flows of a process pool use iam.task_policy_arns", "work_pool.type")
	}
	for n, arn := range i.FlowRoleARNs {
		v.match(fmt.Sprintf("iam.flow_role_arns[%d]", n), arn, roleARN, "the value is the ARN of a role", "write for example arn:aws:iam::123456789012:role/flow")
	}
	if len(i.FlowTaskFamilies) == 0 {
		v.refuse("iam.flow_task_families", "[]", "the worker of an ecs pool registers at least one family of task definitions", "remove the key for the default, prefect")
	}
	for n, family := range i.FlowTaskFamilies {
		v.match(fmt.Sprintf("iam.flow_task_families[%d]", n), family, taskFamily, "a family is 1 to 255 letters, digits, hyphens and underscores", "replace the other characters")
	}
}

func (v *validator) backend() {
	b := v.env.Backend
	oneOf(v, "backend.type", b.Type, BackendLocal, BackendS3)
	if b.Type == BackendLocal {
		for _, given := range []struct{ key, value string }{
			{"backend.bucket", b.Bucket}, {"backend.key", b.Key}, {"backend.region", b.Region}, {"backend.kms_key_arn", b.KMSKeyARN},
		} {
			if given.value != "" {
				v.refuse(given.key, given.value, "the local backend takes no further settings", "set backend.type to s3, or remove the key")
			}
		}
		return
	}
	if b.Type != BackendS3 {
		return
	}
	v.match("backend.bucket", b.Bucket, bucketName, "the s3 backend needs the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens", "set backend.bucket to a bucket that exists, with versioning on")
	v.match("backend.key", b.Key, objectKey, "a key is 1 to 1000 letters, digits and !_.*'()/-", "write for example prefect-worker/prod.tfstate")
	v.match("backend.region", b.Region, regionName, "a region looks like us-east-1", "write the bucket's region")
	v.matchIfSet("backend.kms_key_arn", b.KMSKeyARN, kmsKeyARN, "the value is the ARN of a KMS key, not of an alias", "copy it from the console or from aws kms describe-key")
}
