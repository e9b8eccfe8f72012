package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// format is a form of text that somebody else has fixed: the name that an option's
// jsonschema tag gives leads here.
type format struct {
	// pattern is what is accepted, in syntax that Go and JavaScript (editors) share.
	pattern *regexp.Regexp
	// longest is how many characters there may be; 0 is any number. It is not in the pattern,
	// because Go compiles a repetition of up to 512 into 512 steps, at each start.
	longest int
	// rule and fix are for the message, see Problem.
	rule, fix string
	// example is a value that is accepted.
	example string
	// source is where the rule is published. Empty for what this program itself fixes.
	source string
}

const (
	awsDocs       = "https://docs.aws.amazon.com/"
	fixCharacters = "shorten it or replace the other characters"
	dnsLabel      = `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
	fixKeyARN     = "copy it from the console or from aws kms describe-key"
)

// accepts reports whether a text has the form.
func (f format) accepts(text string) bool {
	return f.pattern.MatchString(text) && (f.longest == 0 || utf8.RuneCountInString(text) <= f.longest)
}

// isARN reports whether the form is that of ARNs.
func (f format) isARN() bool {
	return f.pattern != nil && strings.HasPrefix(f.pattern.String(), "^arn:")
}

// resourceID returns the form of the ids of a type of resource in EC2, which a command of aws ec2 lists.
func resourceID(prefix, of, command string) format {
	return format{
		pattern: regexp.MustCompile(`^` + prefix + `-[0-9a-f]{8}([0-9a-f]{9})?$`), example: prefix + "-0123456789abcdef0",
		rule: fmt.Sprintf("the id of %s is %s- and 8 or 17 hexadecimal digits", of, prefix), fix: "copy it from the console or from aws ec2 " + command,
		source: awsDocs + "AWSEC2/latest/UserGuide/resource-ids.html",
	}
}

var formats = map[string]format{
	"region": {
		pattern: regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,2}-\d$`), example: "eu-central-1",
		rule: "a region looks like us-east-1", fix: "write the region's code, for example us-east-1 or eu-central-1",
		source: awsDocs + "global-infrastructure/latest/regions/aws-regions.html",
	},
	"zone": {
		pattern: regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,2}-\d[a-f]$`), example: "us-east-1a",
		rule: "a zone is the region and a letter from a to f; local zones and wavelength zones lack Fargate", fix: "write the region and a letter that no other zone has",
		source: awsDocs + "AmazonECS/latest/developerguide/AWS_Fargate-Regions.html",
	},
	"account-id": {
		pattern: regexp.MustCompile(`^\d{12}$`), example: "123456789012",
		rule: "an AWS account id is 12 digits", fix: `write it in quotes, for example "123456789012"`,
		source: awsDocs + "accounts/latest/reference/manage-acct-identifiers.html",
	},
	"name-suffix": {
		pattern: regexp.MustCompile(`^-[a-z0-9][a-z0-9-]*$`), longest: 30, example: "-prod",
		rule: "a suffix is a hyphen and up to 29 lower-case letters, digits and hyphens", fix: `write for example "-prod"`,
	},
	"tag-key": {
		pattern: regexp.MustCompile(`^[\p{L}\p{N} _.:/=+\-@]+$`), longest: 128, example: "Team",
		rule: "a tag's key has 1 to 128 letters, digits, spaces and _.:/=+-@", fix: fixCharacters,
		source: awsDocs + "IAM/latest/UserGuide/id_tags.html",
	},
	"tag-value": {
		pattern: regexp.MustCompile(`^[\p{L}\p{N} _.:/=+\-@]*$`), longest: 256, example: "data",
		rule: "a tag's value has up to 256 letters, digits, spaces and _.:/=+-@", fix: fixCharacters,
		source: awsDocs + "IAM/latest/UserGuide/id_tags.html",
	},
	"network-name": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9_.-]+$`), longest: 50, example: "prefect-ecs",
		rule: "the name is a tag and part of the names of the flow logs' group and role: 1 to 50 letters, digits and _.-", fix: fixCharacters,
		source: awsDocs + "IAM/latest/APIReference/API_CreateRole.html",
	},
	"cidr": {
		pattern: regexp.MustCompile(`^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$`), example: "10.0.0.0/16",
		rule: "the value is an IPv4 range in CIDR notation", fix: "write for example 10.0.0.0/16",
		source: awsDocs + "vpc/latest/userguide/vpc-cidr-blocks.html",
	},
	"vpc-id":            resourceID("vpc", "a VPC", "describe-vpcs"),
	"subnet-id":         resourceID("subnet", "a subnet", "describe-subnets"),
	"security-group-id": resourceID("sg", "a security group", "describe-security-groups"),
	"prefix-list-id":    resourceID("pl", "a prefix list", "describe-managed-prefix-lists"),
	"rule-description": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]+$`), longest: 255, example: "Warehouse",
		rule: "the description of a rule has 1 to 255 ASCII letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*", fix: fixCharacters,
		source: awsDocs + "AWSEC2/latest/APIReference/API_IpRange.html",
	},
	"proxy-url": {
		pattern: regexp.MustCompile(`^http://[A-Za-z0-9._-]+:\d{1,5}/?$`), longest: 500, example: "http://proxy.example.com:3128",
		rule: "a proxy is http://, its host, and its port; without user and password, which would stand in plaintext", fix: "write for example http://proxy.example.com:3128",
		source: "https://www.python-httpx.org/environment_variables/",
	},
	"no-proxy": {
		pattern: regexp.MustCompile(`^\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`), longest: 253, example: "example.internal",
		rule: "an exception is a host, a domain with all hosts in it, or an address; Python takes no ranges", fix: "write for example example.internal or 10.0.0.7",
		source: "https://www.python-httpx.org/environment_variables/",
	},
	"ecs-name": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9_-]+$`), longest: 255, example: "prefect",
		rule: "a name in ECS is 1 to 255 letters, digits, hyphens and underscores", fix: fixCharacters,
		source: awsDocs + "AmazonECS/latest/APIReference/API_CreateService.html",
	},
	"security-group-name": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9._\-:/()#,@\[\]+=&;{}!$*]([A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]*[A-Za-z0-9._\-:/()#,@\[\]+=&;{}!$*])?$`), longest: 255, example: "prefect_worker_sg",
		rule: "the name of a security group has 1 to 255 ASCII letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*, with no space at its ends", fix: fixCharacters,
		source: awsDocs + "AWSEC2/latest/APIReference/API_CreateSecurityGroup.html",
	},
	"dns-name": {
		pattern: regexp.MustCompile(`^(` + dnsLabel + `\.)*` + dnsLabel + `$`), longest: 253, example: "default.prefect.local",
		rule: "a DNS name has parts of letters, digits and hyphens, each part of at most 63 characters and all of at most 253", fix: "write for example default.prefect.local",
		source: "https://www.rfc-editor.org/rfc/rfc1123#section-2",
	},
	"image": {
		pattern: regexp.MustCompile(`^\S+$`), longest: 255, example: "prefecthq/prefect:3-latest",
		rule: "an image is [host/]name:tag or [host/]name@sha256:digest, of at most 255 characters", fix: "write for example prefecthq/prefect:2-latest or prefecthq/prefect:3.9.1-python3.12",
		source: "https://github.com/distribution/reference",
	},
	"version": {
		pattern: regexp.MustCompile(`^\d{1,5}(\.\d{1,5}){0,2}$`), example: "3.8",
		rule: "a version is one to three numbers with dots between them", fix: `write for example "2", "3.8" or "3.9.1"`,
	},
	"variable-name": {
		pattern: regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), example: "LOG_LEVEL",
		rule: "a variable's name is letters, digits and underscores and does not begin with a digit", fix: "rename it",
		source: "https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html",
	},
	"pip-requirement": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*\])?((===?|~=|!=|<=?|>=?)[A-Za-z0-9.*+!_-]+(,|$))*$`), example: "s3fs==2025.3.0",
		rule:   "an entry is one package with an optional version and no spaces, since the image splits the list at spaces",
		fix:    "write for example s3fs==2025.3.0; for anything else build an image of your own",
		source: "https://packaging.python.org/en/latest/specifications/dependency-specifiers/",
	},
	"pool-name": {
		pattern: regexp.MustCompile(`^[^\s/%&<>\x00-\x1f\x7f]([^/%&<>\x00-\x1f\x7f]*[^\s/%&<>\x00-\x1f\x7f])?$`), example: "high",
		rule: "a name is not empty, has no spaces at its ends and none of / % & < >", fix: "choose another name",
		source: "raise_on_name_with_banned_characters in Prefect's source",
	},
	"api-url": {
		pattern: regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://[^\s/@?#]+(/[^\s?#]*)?$`), example: "https://prefect.example.com:4200/api",
		rule: "the value is an http or https URL without user, query and fragment", fix: "write for example https://prefect.example.com/api; for Prefect Cloud set prefect.account_id and prefect.workspace_id instead",
		source: "warn_on_misconfigured_api_url in Prefect's source",
	},
	"uuid": {
		pattern: regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`), example: "11111111-1111-4111-8111-111111111111",
		rule: "the value is a UUID", fix: "copy it from the address of your workspace: app.prefect.cloud/account/<account_id>/workspace/<workspace_id>",
		source: "https://www.rfc-editor.org/rfc/rfc9562",
	},
	"iam-action": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9-]+:[A-Za-z][A-Za-z0-9]*\*?$`), longest: 128, example: "s3:GetObject",
		rule: "an action is service:Name, with a star at the end of the name at most: one for all of a service stands also for what AWS adds to it", fix: "name the actions, for example s3:GetObject or s3:Get*",
		source: awsDocs + "service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html",
	},
	"iam-resource": {
		pattern: regexp.MustCompile(`^(\*|arn:aws(-[a-z]+)*:[a-z0-9-]+:[a-z0-9*-]*:(\d{12}|aws|[0-9]*\*[0-9*]*)?:\S+)$`), longest: 2048, example: "arn:aws:s3:::results/*",
		rule: "a resource is an ARN, in which stars may stand", fix: "write for example arn:aws:s3:::results/*",
		source: awsDocs + "IAM/latest/UserGuide/reference_policies_elements_resource.html",
	},
	"role-path": {
		pattern: regexp.MustCompile(`^/([A-Za-z0-9_+=,.@-]+/)*$`), longest: 512, example: "/prefect/",
		rule: "a path begins and ends with /, and between them has letters, digits and +=,.@_-", fix: "write for example /prefect/",
		source: awsDocs + "IAM/latest/APIReference/API_CreateRole.html",
	},
	"secret-name": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]+$`), longest: 512, example: "prefect-api-key",
		rule: "a secret's name is 1 to 512 letters, digits and /_+=.@-", fix: fixCharacters,
		source: awsDocs + "secretsmanager/latest/apireference/API_CreateSecret.html",
	},
	"secret-arn": {
		pattern: regexp.MustCompile(`^arn:aws(-[a-z]+)*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}$`), example: "arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect-AbCdEf",
		rule:   "the value is the whole ARN of a secret in Secrets Manager, with the six characters that AWS adds: ECS and the role's policy need it",
		fix:    "copy the ARN from the console or from aws secretsmanager describe-secret",
		source: awsDocs + "AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html",
	},
	"secret-reference": {
		pattern: regexp.MustCompile(`^arn:aws(-[a-z]+)*:(secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}(:[^:]*:[^:]*:|:[^:]*::[^:]*)?|ssm:[a-z0-9-]+:\d{12}:parameter(/[A-Za-z0-9_.-]+)+)$`), example: "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf:password::",
		rule:   "the value is the whole ARN of a secret in Secrets Manager, with the six characters that AWS adds and, if wanted, :json-key:version-stage: or :json-key::version-id, or the ARN of a parameter",
		fix:    "copy the ARN from the console, from aws secretsmanager describe-secret or from aws ssm get-parameter",
		source: awsDocs + "AmazonECS/latest/APIReference/API_Secret.html",
	},
	"server-name": {
		pattern: regexp.MustCompile(`^[a-z]([a-z0-9]|-[a-z0-9])*$`), longest: 46, example: "prefect-server",
		rule: "a server's name is that of a database too: 1 to 46 lower-case letters, digits and single hyphens, and begins with a letter", fix: "write for example prefect-server",
		source: awsDocs + "AmazonRDS/latest/APIReference/API_CreateDBInstance.html",
	},
	"instance-class": {
		pattern: regexp.MustCompile(`^db\.(t[0-9][a-z]*\.(micro|small|medium|large|2?xlarge)|[a-su-z][a-z]*[0-9][a-z0-9-]*\.(large|([1-9][0-9]*)?xlarge))$`), longest: 40, example: "db.t4g.small",
		rule: "a class of instances of RDS looks like db.t4g.micro, and only those that begin with db.t have sizes below large, and none above 2xlarge", fix: "write one that your region has for PostgreSQL: aws rds describe-orderable-db-instance-options --engine postgres",
		source: awsDocs + "AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.html",
	},
	"database-name": {
		pattern: regexp.MustCompile(`^[a-z][a-z0-9_]*$`), longest: 63, example: "prefect",
		rule: "the name of a database or of its user is 1 to 63 lower-case letters, digits and underscores, and begins with a letter", fix: "write for example prefect",
		source: awsDocs + "AmazonRDS/latest/APIReference/API_CreateDBInstance.html",
	},
	"json-key": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9_.-]+$`), longest: 128, example: "api_key",
		rule: "a key is 1 to 128 letters, digits and _.-", fix: "rename the key in the secret",
		source: awsDocs + "AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html",
	},
	"kms-key-arn": {
		pattern: regexp.MustCompile(`^arn:aws(-[a-z]+)*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$`), example: "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		rule: "the value is the ARN of a KMS key, not of an alias", fix: fixKeyARN,
		source: awsDocs + "kms/latest/developerguide/concepts.html",
	},
	"log-group": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9_/.#-]+$`), longest: 512, example: "/ecs/prefect-worker",
		rule: "a log group's name is 1 to 512 letters, digits and _/.#-", fix: fixCharacters,
		source: awsDocs + "AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html",
	},
	"role-name": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]+$`), longest: 64, example: "prefect-task-role",
		rule: "a role's name is 1 to 64 letters, digits and +=,.@_-", fix: fixCharacters,
		source: awsDocs + "IAM/latest/APIReference/API_CreateRole.html",
	},
	"e-mail": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*@(` + dnsLabel + `\.)+[A-Za-z]{2,}$`), longest: 254, example: "on-call@example.com",
		rule: "the value is an e-mail address of ASCII characters, with a domain", fix: "write for example on-call@example.com",
		source: "https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2",
	},
	"topic-arn": {
		pattern: regexp.MustCompile(`^arn:aws(-[a-z]+)*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$`), example: "arn:aws:sns:us-east-1:123456789012:on-call",
		rule: "the value is the ARN of a standard topic of SNS; one whose name ends in .fifo sends nothing to people", fix: "copy the ARN from the console or from aws sns list-topics",
		source: awsDocs + "sns/latest/dg/fifo-message-delivery.html",
	},
	"policy-arn": {
		pattern: regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::(\d{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$`), example: "arn:aws:iam::123456789012:policy/flows",
		rule: "the value is the ARN of a managed policy", fix: "write for example arn:aws:iam::123456789012:policy/flows",
		source: awsDocs + "IAM/latest/UserGuide/reference_identifiers.html",
	},
	"role-arn": {
		pattern: regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::\d{12}:role/[A-Za-z0-9_+=,.@/-]+$`), example: "arn:aws:iam::123456789012:role/flow",
		rule: "the value is the ARN of a role", fix: "write for example arn:aws:iam::123456789012:role/flow",
		source: awsDocs + "IAM/latest/UserGuide/reference_identifiers.html",
	},
	"bucket": {
		pattern: regexp.MustCompile(`^[a-z0-9][a-z0-9.-]+[a-z0-9]$`), longest: 63, example: "example-states",
		rule: "a bucket's name is 3 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit at both ends", fix: "set backend.bucket to a bucket that exists, with versioning on",
		source: awsDocs + "AmazonS3/latest/userguide/bucketnamingrules.html",
	},
	"object-key": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*$`), longest: 1000, example: "prefect-worker/prod.tfstate",
		rule: "a key is 1 to 1000 letters, digits and !_.*'()/-, with single slashes inside", fix: "write for example prefect-worker/prod.tfstate",
		source: "https://developer.hashicorp.com/terraform/language/backend/s3",
	},
}
