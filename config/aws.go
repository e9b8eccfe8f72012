package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/hashicorp/aws-sdk-go-base/v2/endpoints"

	"prefect-worker-ecs/config/strict"
)

var environmentName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$`)

const environmentNameRule = "an environment's name is 1 to 30 lower-case letters, digits and hyphens and begins with a letter: it is the name of the stack and of its state file"

// name refuses a file name that cannot be a stack's.
func (v *validator) name() {
	if !environmentName.MatchString(v.env.Name) {
		v.problems = append(v.problems, strict.NewProblem(v.env.source.File, 0, "file name", v.env.Name,
			environmentNameRule, "rename the file, for example to prod.yaml"))
	}
}

// awsRegions are all regions and the partition of each, from the metadata of AWS's SDKs as
// HashiCorp publishes them for the AWS provider.
var awsRegions = func() map[string]endpoints.Partition {
	regions := map[string]endpoints.Partition{}
	for _, partition := range endpoints.DefaultPartitions() {
		for region := range partition.Regions() {
			regions[region] = partition
		}
	}
	return regions
}()

// Partition returns the partition of the environment's region: aws, aws-cn, aws-us-gov, ...
func (e *Environment) Partition() string { return awsRegions[e.Region].ID() }

// regions refuses regions that do not exist, and zones of another region.
func (v *validator) regions() {
	e := v.env
	for _, region := range []struct{ key, code string }{{"region", e.Region}, {"backend.region", e.Backend.Region}} {
		if _, known := awsRegions[region.code]; !known && region.code != "" {
			v.reject(region.key, region.code, "there is no such region in the list of AWS's SDKs",
				strict.Nearest(region.code, slices.Sorted(maps.Keys(awsRegions)))+"correct it; for a region that is newer than this program update github.com/hashicorp/aws-sdk-go-base in go.mod", "region")
		}
	}
	own, state := awsRegions[e.Region], awsRegions[e.Backend.Region]
	if state.ID() != "" && own.ID() != "" && own.ID() != state.ID() {
		v.reject("backend.region", e.Backend.Region, fmt.Sprintf("credentials are of one partition, and %s is in %s and not in %s", e.Backend.Region, state.ID(), own.ID()), "keep the state in a bucket of that partition", "region")
	}
	pairs := len(e.Network.PublicSubnetCIDRs)
	zones := e.Network.AvailabilityZones
	for i, zone := range zones {
		if zone[:max(len(zone)-1, 0)] != e.Region {
			v.reject(fmt.Sprintf("network.availability_zones[%d]", i), zone, "a zone is the region and a letter, and the region is "+e.Region, "write for example "+e.freeZone(), "region")
		}
	}
	if len(zones) > 0 && len(zones) != pairs {
		v.reject("network.availability_zones", strings.Join(zones, ", "), fmt.Sprintf("there is one zone for each of the %d public subnets", pairs), "name as many zones as subnets, or remove the key")
	}
}

// freeZone returns a zone of the region that is not in network.availability_zones.
func (e *Environment) freeZone() string {
	for letter := 'a'; ; letter++ {
		if zone := e.Region + string(letter); !slices.Contains(e.Network.AvailabilityZones, zone) {
			return zone
		}
	}
}

// arns refuses ARNs of another partition, region or account than the environment's: roles
// and policies of another account cannot be attached, and neither the program's policies nor
// the keys' and secrets' own let a task in from elsewhere. Without account_id the first ARN
// says which account it is. Source: "Amazon Resource Names" in the IAM User Guide.
func (v *validator) arns() {
	e := v.env
	account, from := e.AccountID, "account_id"
	for _, o := range options() {
		ofState := strings.HasPrefix(o.Key, "backend.") // which may be kept in another account
		eachText(o.Key, o.in(e), func(key, text string) {
			parsed, err := arn.Parse(text)
			if err != nil || !o.format().isARN() && key != taskDefinitionKey {
				return // empty, rejected as malformed, or what people use for themselves
			}
			region := e.Region
			if ofState {
				region = e.Backend.Region
			}
			v.place(key, text, parsed, region)
			switch {
			case ofState || parsed.AccountID == "aws": // a policy of AWS's own
			case account == "":
				account, from = parsed.AccountID, key
			case parsed.AccountID != account:
				v.reject(key, text, fmt.Sprintf("an environment is in one account, and %s says %s", from, account), "write the ARN of a resource in that account", from)
			}
		})
	}
}

// place refuses an ARN of another partition or region, and a role of AWS's own. ARNs of IAM have no region.
func (v *validator) place(key, text string, parsed arn.ARN, region string) {
	if partition, known := awsRegions[v.env.Region]; known && parsed.Partition != partition.ID() {
		v.reject(key, text, fmt.Sprintf("the region %s is in the partition %s, and the ARN is of %s", v.env.Region, partition.ID(), parsed.Partition), "write the ARN of a resource in that partition", "region")
	}
	for _, reserved := range reservedPaths {
		if strings.HasPrefix(parsed.Resource, "role"+reserved) {
			v.reject(key, text, "only AWS itself assumes the roles below "+reserved, "name a role of your own")
		}
	}
	if parsed.Region != "" && parsed.Region != region {
		v.reject(key, text, "keys, secrets and topics are used in their own region, here "+region, "write the ARN of one there; keys and secrets can be replicated to other regions", "region")
	}
}

// tags refuses tags that AWS does not take. IAM compares keys without regard to case.
// Source: "Tagging IAM resources" in the IAM User Guide.
func (v *validator) tags() {
	tags := v.env.Tags
	const most = 50 // without those of AWS, whose keys begin with aws:
	count := len(tags)
	if _, given := tags["Name"]; !given {
		count++
	}
	if count > most {
		v.reject("tags", fmt.Sprintf("%d tags", count), fmt.Sprintf("AWS takes %d tags on a resource, with Name, Project, Environment and ManagedBy, which the program sets", most), fmt.Sprintf("remove %d", count-most))
	}
	keys := slices.Sorted(maps.Keys(tags))
	for i, key := range keys {
		if strings.HasPrefix(strings.ToLower(key), "aws:") {
			v.reject("tags."+key, tags[key], "AWS keeps keys that begin with aws: for itself", "rename the key")
		}
		if key != "Name" && strings.EqualFold(key, "Name") {
			v.reject("tags."+key, tags[key], "the program sets the tag Name, and to IAM a key in other case is the same", "remove it, or write Name")
		}
		for _, other := range keys[:i] {
			if strings.EqualFold(key, other) {
				refused := key // the user's, and not the default
				if !v.env.given("tags." + key) {
					refused = other
				}
				v.reject("tags."+refused, tags[refused], fmt.Sprintf("to IAM the keys %s and %s are the same", other, key), "write the key in one way; the defaults are Project, Environment and ManagedBy")
			}
		}
	}
}

// ownNames refuses names that break a limit with what the program adds to them, or that
// clash with each other inside the environment.
func (v *validator) ownNames() {
	e := v.env
	const ruleName = 64 // PutRule in the EventBridge API reference; a queue may have 80
	if queue := e.EventQueue(); len(queue) > ruleName {
		v.reject("worker.service_name", e.Worker.ServiceName, fmt.Sprintf("the event rule of an ecs pool is called %s, and a rule's name has at most %d characters, so the service's at most %d", queue, ruleName, ruleName-len(queue)+len(e.Worker.ServiceName)),
			"shorten it", "work_pool.type")
	}
	if strings.EqualFold(e.IAM.ExecutionRoleName, e.IAM.TaskRoleName) && e.IAM.Existing == (ExistingRoles{}) {
		v.reject("iam.task_role_name", e.IAM.TaskRoleName, "the task's role is another one than the execution role, which may read the API key; IAM ignores case", "choose another name", "iam.execution_role_name")
	}
	taken := map[string]uniqueName{}
	for _, c := range e.uniqueNames() {
		if first, twice := taken[c.id()]; twice {
			key, other := c.key, first.key
			if !v.env.given(key) && v.env.given(other) {
				key, other = other, key
			}
			v.reject(key, c.value, fmt.Sprintf("two resources cannot share the name of a %s, and it is made from %s too", c.kind, other), "choose another name", other)
		}
		taken[c.id()] = c
	}
	if group := e.WorkerSecurityGroup(); strings.HasPrefix(strings.ToLower(group), "sg-") || strings.EqualFold(group, "default") {
		v.reject("network.security_group_name", group, "EC2 keeps names that begin with sg-, and the name default, for itself", "choose another name")
	}
	for _, reserved := range reservedPaths {
		if strings.HasPrefix(e.IAM.Path, reserved) {
			v.reject("iam.path", e.IAM.Path, "IAM keeps the path "+reserved+" for roles that AWS makes", "write for example /prefect/")
		}
	}
	if strings.HasPrefix(e.Logs.Group, "aws/") {
		v.reject("logs.group", e.Logs.Group, "AWS keeps names that begin with aws/ for itself", "choose another name")
	}
}

// reservedPaths are those of roles that AWS makes, for its own services.
var reservedPaths = []string{"/aws-service-role/", "/aws-reserved/"}

// reservedRanges are those that CreateVpc refuses ("VPC CIDR blocks" in the Amazon VPC User
// Guide) or that no host can have (RFC 6890).
var reservedRanges = []struct {
	prefix netip.Prefix
	use    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local addresses, with the task's own metadata and credentials"},
	{netip.MustParsePrefix("198.19.0.0/16"), "AWS's own use"},
	{netip.MustParsePrefix("224.0.0.0/3"), "multicast and the future"},
}

// subnets refuses ranges that do not fit into the VPC, overlap, or are too small.
func (v *validator) subnets() {
	n := v.env.Network
	vpc, ok := v.cidr("network.vpc_cidr", n.VPCCIDR, 16, 28)
	if !ok || n.Exists() {
		return
	}
	for _, reserved := range reservedRanges {
		if reserved.prefix.Overlaps(vpc) {
			v.reject("network.vpc_cidr", n.VPCCIDR, fmt.Sprintf("%s is reserved for %s", reserved.prefix, reserved.use), "choose a private range, for example 10.0.0.0/16 (RFC 1918)")
		}
	}
	if public, private := len(n.PublicSubnetCIDRs), len(n.PrivateSubnetCIDRs); public != private {
		v.reject("network.private_subnet_cidrs", fmt.Sprintf("%d subnets", private),
			fmt.Sprintf("there are as many private as public subnets, one pair for each availability zone, and public_subnet_cidrs has %d", public),
			"set both lists, with the same number of CIDRs", "network.public_subnet_cidrs")
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
		{"network.public_subnet_cidrs", n.PublicSubnetCIDRs, n.PublicIP()},
		{"network.private_subnet_cidrs", n.PrivateSubnetCIDRs, !n.PublicIP()},
	} {
		for i, text := range list.cidrs {
			key := fmt.Sprintf("%s[%d]", list.key, i)
			prefix, ok := v.cidr(key, text, 16, 28)
			if !ok {
				continue
			}
			if !vpc.Contains(prefix.Addr()) || prefix.Bits() < vpc.Bits() {
				v.reject(key, text, "a subnet lies inside the VPC, "+n.VPCCIDR, "choose a range inside it, or set network.vpc_cidr to one that holds the subnets", "network.vpc_cidr")
			}
			for _, other := range known {
				if other.prefix.Overlaps(prefix) {
					v.reject(key, text, fmt.Sprintf("subnets do not overlap, and %s is %s", other.key, other.prefix), "choose a range that is free")
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
	most := v.env.Worker.MostTasks()
	if need := 2 * most; usable > 0 && need > usable {
		key := "worker.desired_count"
		if v.env.Worker.Scales() {
			key = "worker.scaling.max"
		}
		v.reject(key, most,
			fmt.Sprintf("a deployment runs old and new tasks side by side, here %d, and the worker's subnets have %d free addresses", need, usable),
			"lower it or give the worker larger subnets")
	}
}

// cidr parses an IPv4 range, for VPCs and subnets from /16 to /28.
func (v *validator) cidr(key, text string, largest, smallest int) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !prefix.Addr().Is4():
		v.reject(key, text, formats["cidr"].rule, formats["cidr"].fix)
	case prefix.Masked() != prefix:
		v.reject(key, text, "a range begins at its first address", "write "+prefix.Masked().String())
	case prefix.Bits() < largest || prefix.Bits() > smallest:
		v.reject(key, text, fmt.Sprintf("AWS takes ranges from /%d to /%d", largest, smallest), "choose a size between them")
	default:
		return prefix, true
	}
	return netip.Prefix{}, false
}

// bucketRules are those of S3 beyond characters and length ("General purpose buckets naming
// rules" in the S3 User Guide).
var bucketRules = []struct {
	pattern *regexp.Regexp
	rule    string
}{
	{regexp.MustCompile(`\.\.|\.-|-\.`), "a bucket's name has no two dots, or a dot and a hyphen, side by side"},
	{regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`), "a bucket's name is not formed like an IP address"},
	{regexp.MustCompile(`^(xn--|sthree-|amzn-s3-demo-)`), "S3 keeps names that begin with xn--, sthree- and amzn-s3-demo- for itself"},
	{regexp.MustCompile(`(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$`), "S3 keeps names that end in -s3alias, --ol-s3, .mrap, --x-s3 and --table-s3 for itself"},
}

func (v *validator) backend() {
	b := v.env.Backend
	switch b.Type {
	case BackendLocal:
		v.rejectIgnored("the local backend takes no further settings", "set backend.type to s3, or remove the key",
			"backend.bucket", "backend.key", "backend.region", "backend.assume_role_arn", "backend.kms_key_arn")
	case BackendS3:
		if b.Bucket == "" {
			v.reject("backend.bucket", b.Bucket, "the s3 backend needs the name of a bucket", formats["bucket"].fix, "backend.type")
		}
		for _, r := range bucketRules {
			if r.pattern.MatchString(b.Bucket) {
				v.reject("backend.bucket", b.Bucket, r.rule, "choose another bucket")
			}
		}
	}
}
