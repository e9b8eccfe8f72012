package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

// load reads environments given as file name and YAML.
func load(t *testing.T, files map[string]string) ([]*Environment, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, yaml := range files {
		if err := os.WriteFile(filepath.Join(Dir, name), []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Load(Dir)
}

// loadOne reads one environment, dev, that must be valid.
func loadOne(t *testing.T, yaml string) *Environment {
	t.Helper()
	envs, err := load(t, map[string]string{"dev.yaml": yaml})
	if err != nil {
		t.Fatalf("the environment should be valid:\n%s\n%v", yaml, err)
	}
	return envs[0]
}

var ignoreSource = cmpopts.IgnoreFields(Environment{}, "source")

func TestAnEmptyFileIsTheOriginalDeployment(t *testing.T) {
	// GIVEN the values of the original design
	want := &Environment{
		Name:   "dev",
		Region: "us-east-1",
		Tags:   map[string]string{"Project": "prefect-worker", "Environment": "dev", "ManagedBy": "cdktf"},
		Network: Network{
			Name:               "prefect-ecs",
			VPCCIDR:            "10.0.0.0/16",
			PublicSubnetCIDRs:  []string{"10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"},
			PrivateSubnetCIDRs: []string{"10.0.4.0/24", "10.0.5.0/24", "10.0.6.0/24"},
			NAT:                NATSingle,
			FlowLogs:           FlowLogsAll,
			S3Endpoint:         true,
		},
		Cluster: Cluster{Name: "prefect-cluster", Namespace: "default.prefect.local", ContainerInsights: true},
		Worker: Worker{
			ServiceName: "dev-worker", ContainerName: "prefect-worker", Image: "prefecthq/prefect:2-latest",
			CPU: 256, MemoryMiB: 512, Architecture: X8664,
			DesiredCount: 1, ConcurrencyLimit: 1, StopTimeoutSeconds: 120,
		},
		WorkPool: WorkPool{Name: "ecs-work-pool", Type: PoolProcess, Job: Job{CPU: 512, MemoryMiB: 1024}},
		Prefect:  Prefect{Authentication: AuthAPIKey},
		Server: Server{
			CPU: 512, MemoryMiB: 1024,
			Database: Database{
				InstanceClass: "db.t4g.micro", EngineVersion: "17", StorageGiB: 20, BackupDays: 7, DeletionProtection: true, FinalSnapshot: true,
				PasswordVersion: 1, User: "prefect", Name: "prefect", Port: 5432,
			},
		},
		Secret: Secret{Name: "prefect-api-key-new-2", Version: 1},
		Logs:   Logs{Group: "/ecs/prefect-worker", RetentionDays: 30},
		IAM: IAM{
			ExecutionRoleName: "prefect-task-execution-role", TaskRoleName: "prefect-task-role",
			FlowExecutionRoleName: "prefect-flow-execution-role", FlowTaskRole: FlowTaskRole{Name: "prefect-flow-task-role"},
		},
		Monitoring: Monitoring{LateMinutes: 10, PendingMinutes: 10},
		Backend:    Backend{Type: BackendLocal},
	}

	for name, yaml := range map[string]string{
		"empty":          "",
		"only a comment": "# nothing\n",
		"null":           "null\n",
		"keys without a value": "network:\nworker:\n  cpu:\n  environment:\nregion:\n" +
			"work_pool: {type: }\n",
	} {
		t.Run(name, func(t *testing.T) {
			// WHEN the file says nothing
			got := loadOne(t, yaml)
			// THEN the environment is the original's
			if diff := cmp.Diff(want, got, ignoreSource); diff != "" {
				t.Errorf("(- want, + got)\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(want, Default("dev"), ignoreSource); diff != "" {
		t.Errorf("Default differs from an empty file (- want, + got)\n%s", diff)
	}
}

func TestTheShippedEnvironmentIsTheDefault(t *testing.T) {
	// GIVEN the files in this repository
	envs, err := Load("environments")
	if err != nil {
		t.Fatal(err)
	}
	// THEN dev is what an empty file gives
	if diff := cmp.Diff([]*Environment{Default("dev")}, envs, ignoreSource); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}

// ARNs of the tests.
const (
	role      = "arn:aws:iam::123456789012:role/team/r"
	policy    = "arn:aws:iam::123456789012:policy/p"
	key       = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	stateKey  = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	secret    = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect-AbCdEf"
	parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/db/url"
)

// accepted are environments in which a value is calculated, or written otherwise than it
// counts. That each option is read at all, the rows of testdata/options.yaml show.
var accepted = []struct {
	yaml string
	set  func(*Environment)
}{
	{"name_suffix: -b", func(e *Environment) {
		e.IAM.FlowExecutionRoleName, e.IAM.FlowTaskRole.Name = "prefect-flow-execution-role-b", "prefect-flow-task-role-b"
		e.NameSuffix = "-b"
		e.Network.Name = "prefect-ecs-b"
		e.Cluster.Name = "prefect-cluster-b"
		e.Secret.Name = "prefect-api-key-new-2-b"
		e.Logs.Group = "/ecs/prefect-worker-b"
		e.IAM.ExecutionRoleName = "prefect-task-execution-role-b"
		e.IAM.TaskRoleName = "prefect-task-role-b"
	}},
	{"name_suffix: -b\ncluster: {name: mine}\nsecret: {name: s}\nlogs: {group: l}\nnetwork: {name: n}\niam: {execution_role_name: x, task_role_name: y}", func(e *Environment) {
		e.IAM.FlowExecutionRoleName, e.IAM.FlowTaskRole.Name = "prefect-flow-execution-role-b", "prefect-flow-task-role-b"
		e.NameSuffix = "-b"
		e.Network.Name, e.Cluster.Name, e.Secret.Name, e.Logs.Group = "n", "mine", "s", "l"
		e.IAM.ExecutionRoleName, e.IAM.TaskRoleName = "x", "y"
	}},
	{"tags: {Team: data, Project: other}", func(e *Environment) { e.Tags["Team"] = "data"; e.Tags["Project"] = "other" }},
	{"network: {vpc_cidr: 10.8.0.0/16}", func(e *Environment) {
		e.Network.VPCCIDR = "10.8.0.0/16"
		e.Network.PublicSubnetCIDRs = []string{"10.8.1.0/24", "10.8.2.0/24", "10.8.3.0/24"}
		e.Network.PrivateSubnetCIDRs = []string{"10.8.4.0/24", "10.8.5.0/24", "10.8.6.0/24"}
	}},
	{"network: {vpc_cidr: 172.16.8.0/21, public_subnet_cidrs: [172.16.8.0/26, 172.16.8.64/26, 172.16.8.128/26]}", func(e *Environment) {
		e.Network.VPCCIDR = "172.16.8.0/21"
		e.Network.PublicSubnetCIDRs = []string{"172.16.8.0/26", "172.16.8.64/26", "172.16.8.128/26"}
		e.Network.PrivateSubnetCIDRs = []string{"172.16.12.0/24", "172.16.13.0/24", "172.16.14.0/24"}
	}},
	{"worker: {image: 'example.com/w:1', prefect_version: '3', prefect_aws_included: true}\nwork_pool: {type: ecs}", func(e *Environment) {
		e.Worker.Image, e.Worker.PrefectVersion, e.Worker.PrefectAWSIncluded = "example.com/w:1", "3", true
		ecsPool(e)
	}},
	{"work_pool: {type: ecs}", ecsPool},
	{"work_pool: {type: ecs}\niam: {flow_task_role: {statements: [{actions: ['s3:Get*', sqs:SendMessage], resources: ['arn:aws:s3:::b/*'], conditions: {'ForAnyValue:StringLike': {'aws:TagKeys': x}, Bool: {'aws:SecureTransport': 'true'}}}, {actions: [ecr:GetAuthorizationToken], resources: ['*'], all_resources: true}]}}", func(e *Environment) {
		ecsPool(e)
		e.IAM.FlowTaskRole.Statements = []Statement{
			{Actions: []string{"s3:Get*", "sqs:SendMessage"}, Resources: []string{"arn:aws:s3:::b/*"}, Conditions: map[string]map[string]Values{"ForAnyValue:StringLike": {"aws:TagKeys": {"x"}}, "Bool": {"aws:SecureTransport": {"true"}}}},
			{Actions: []string{"ecr:GetAuthorizationToken"}, Resources: []string{"*"}, AllResources: true},
		}
	}},
	{"work_pool: {type: ecs}\niam: {flow_role_arns: ['arn:aws:iam::123456789012:role/flow'], flow_task_families: [etl]}", func(e *Environment) {
		ecsPool(e)
		e.IAM.FlowRoleARNs, e.IAM.FlowTaskFamilies = []string{"arn:aws:iam::123456789012:role/flow"}, []string{"etl"}
	}},
	{"server: {enabled: true}", func(e *Environment) {
		e.Server.Enabled, e.Server.Name = true, "prefect-server"
		e.Prefect.APIURL, e.Prefect.Authentication = "http://prefect.default.prefect.local:4200/api", AuthNone
	}},
	{"server: {enabled: true}\nworker: {image: 'prefecthq/prefect:3-latest'}\ncluster: {namespace: prefect.example.com}", func(e *Environment) {
		e.Server.Name = "prefect-server"
		e.Server.Enabled, e.Worker.Image, e.Cluster.Namespace = true, "prefecthq/prefect:3-latest", "prefect.example.com"
		e.Prefect.APIURL, e.Prefect.Authentication = "http://prefect.prefect.example.com:4200/api", AuthBasic
	}},
	{"network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}, egress: [{description: a, from_port: 5000, cidr: 10.0.0.0/8}]}\nworker: {image: 'reg.example.com:5000/w:1', prefect_version: '3'}", func(e *Environment) {
		e.Network.Existing = ExistingNetwork{VPCID: "vpc-01234567", SubnetIDs: []string{"subnet-01234567"}}
		e.Network.FlowLogs, e.Network.S3Endpoint = FlowLogsNone, false
		e.Network.Egress = []Egress{{Description: "a", Protocol: "tcp", FromPort: 5000, ToPort: 5000, CIDR: "10.0.0.0/8"}}
		e.Worker.Image, e.Worker.PrefectVersion = "reg.example.com:5000/w:1", "3"
	}},
	{"backend: {type: s3, bucket: states}", func(e *Environment) {
		e.Backend = Backend{Type: BackendS3, Bucket: "states", Key: "prefect-worker/dev.tfstate", Region: "us-east-1"}
	}},
	// Right, though written otherwise.
	{"prefect: {account_id: AAAAAAAA-1111-4111-8111-111111111111}", func(e *Environment) {
		e.Prefect.AccountID = "aaaaaaaa-1111-4111-8111-111111111111"
	}},
	{"prefect: {api_url: 'HTTPS://Prefect.example.com.:4200/api/'}", func(e *Environment) { e.Prefect.APIURL = "https://prefect.example.com:4200/api" }},
	{"prefect: {api_url: 'https://api.prefect.cloud/api/accounts/AAAAAAAA-1111-4111-8111-111111111111/workspaces/BBBBBBBB-2222-4222-8222-222222222222/'}", func(e *Environment) {
		e.Prefect.APIURL = "https://api.prefect.cloud/api/accounts/aaaaaaaa-1111-4111-8111-111111111111/workspaces/bbbbbbbb-2222-4222-8222-222222222222"
	}},
}

// alsoAccepted are environments in which nothing is calculated, or something is right that looks wrong.
var alsoAccepted = []string{
	"network:\n  vpc_cidr: 10.8.0.0/20\n  public_subnet_cidrs: [10.8.0.0/24]\n  private_subnet_cidrs: [10.8.1.0/24]",
	"worker: {extra_pip_packages: ['s3fs==2025.3.0', 'boto3[crt]>=1,<2']}",
	"worker: {environment: {LEVEL: '1', EMPTY: ''}}",
	"work_pool: {type: ecs, job: {environment: {EXTRA_PIP_PACKAGES: s3fs}, secrets: {DB: '" + secret + "'}, variables: {stream_output: 'true'}}}",
	"worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {secrets: {DB: '" + secret + "'}, variables: {command: prefect flow-run execute}}}",
	"prefect: {account_id: 11111111-1111-4111-8111-111111111111, workspace_id: 22222222-2222-4222-8222-222222222222}",
	"server: {enabled: true, database: {existing_host: db.example.com, existing_secret: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect-server-database-old-AbCdEf'}}",
	"network: {nat: none, endpoints: [ecr.api, ecr.dkr, logs], proxy: 'http://10.0.0.7:3128'}\nworker: {image: '123456789012.dkr.ecr.us-east-1.amazonaws.com/w:1', prefect_version: '3'}\nprefect: {api_url: 'https://prefect.example.com/api', authentication: none}",
	"worker: {secrets: {A: '" + secret + ":key::', B: '" + secret + ":key:AWSPREVIOUS:', C: '" + secret + ":::4f2c', D: '" + parameter + "'}}",
	"worker: {environment: {TOKENIZERS_PARALLELISM: 'true', MAX_TOKENS: '9', SECRET_ARN: '" + secret + "', USE_PASSWORD: 'no', GOOGLE_APPLICATION_CREDENTIALS: /etc/gcp.json, DB_PASSWORD: '', HOOK: 'https://hooks.example.com/a?page=1'}}",
	"worker: {service_name: " + strings.Repeat("w", 100) + "}",
	"prefect: {api_url: 'http://server.default.prefect.local:4200/api', authentication: none}",
	"prefect: {api_url: 'http://10.0.7.7:4200/api', authentication: basic}\nworker: {image: 'prefecthq/prefect:3-latest'}",
	"backend: {type: s3, bucket: states, kms_key_arn: 'arn:aws:kms:us-east-1:999999999999:key/1'}\naccount_id: '123456789012'",
	"region: cn-north-1\nworker: {secrets: {A: 'arn:aws-cn:ssm:cn-north-1:123456789012:parameter/a/b'}}",
	"worker: {image: 'prefecthq/prefect:2-latest', prefect_version: '2.20.25', extra_pip_packages: [prefect-gcp==0.5.18, 'a~=1.2', 'b>=1,<2', 'c==1.*']}",
	"network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}}\nprefect: {api_url: 'http://prefect-server.company.local:4200/api', authentication: none}",
	"network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}, proxy: 'http://192.168.1.1:3128', no_proxy: [.Company.internal, 10.0.0.7, localhost]}\nprefect: {api_url: 'http://192.168.7.7:4200/api', authentication: none}",
	"network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}, proxy: 'http://db.example.com:5432'}\nserver: {enabled: true, database: {existing_host: DB.Example.com, existing_secret: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-0123-AbCdEf:password::'}}",
	"network: {proxy: 'http://proxy.example.com:443'}\nprefect: {api_url: 'https://PREFECT.Example.com/api'}",
	"network: {proxy: 'http://proxy.example.com:4200'}\nserver: {enabled: true, database: {user: postgres, name: postgres, instance_class: db.r6gd.12xlarge}}",
	"server: {enabled: true}\nsecret: {recovery_window_days: 30, kms_key_arn: '" + key + "'}",
	"server: {enabled: true, database: {existing_host: db.example.com, existing_secret: '" + secret + "'}}\nsecret: {kms_key_arn: '" + key + "'}",
	"tags: {" + many(46, "T%d: x") + "}",
	"tags: {Name: x, Project: y, " + many(46, "T%d: x") + "}",
	"worker: {image: '999999999999.dkr.ecr.eu-west-1.amazonaws.com/w:1', prefect_version: '3'}\naccount_id: '123456789012'",
	"worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: '999999999999.dkr.ecr.eu-west-1.amazonaws.com/w:1'}}\niam: {existing: {flow_execution_role: '" + role + "'}}",
	"iam: {task_statements: [{actions: ['s3:GetObject'], resources: ['arn:aws:s3:::a/*', 'arn:aws:s3:us-east-1:123456789012:accesspoint/a', 'arn:aws:iam::aws:policy/ReadOnlyAccess', 'arn:aws:sqs:*:*:q', 'arn:aws:dynamodb:us-*:123456789012:table/t', 'arn:aws:apigateway:us-east-1::/restapis/*', 'arn:aws:cloudwatch::123456789012:dashboard/d'], " +
		"conditions: {StringEquals: {'aws:PrincipalTag/team': [a, b]}, Bool: {'aws:SecureTransport': 'true'}, NumericLessThan: {'s3:max-keys': '10'}, IpAddress: {'aws:SourceIp': [10.0.0.0/8, '2001:db8::/32', 10.0.0.1]}, DateGreaterThan: {'aws:CurrentTime': '2030-01-01T00:00:00Z'}, ArnLike: {'aws:SourceArn': 'arn:aws:s3:::*'}, 'Null': {'aws:TokenIssueTime': 'true'}, StringLike: {'s3:prefix': '${aws:username}/*'}}}]}",
	"region: us-gov-west-1\niam: {path: /team/aws-service-role/, task_statements: [{actions: ['s3:GetObject'], resources: ['arn:aws-us-gov:s3:::a/*']}]}",
	"network: {vpc_cidr: 100.64.0.0/16, proxy: 'http://100.64.9.9:3128/'}\nprefect: {api_url: 'http://100.64.9.9:4200/api', authentication: none}",
	"worker: {image: 'prefecthq/prefect:3-latest', task_family: main, service_name: etl-worker, environment: &e {A: x, AWS_DEFAULT_REGION: us-east-1}}\nwork_pool: {type: ecs, job: {environment: {<<: *e, AWS_DEFAULT_REGION: eu-west-1}, variables: {labels: '{}', match_latest_revision_in_family: 'true', container_name: flow}}}\niam: {flow_task_families: [etl]}",
	"server: {enabled: true, database: {instance_class: db.x2iedn.xlarge}}\nworker: {registry_credentials: '" + secret + "', extra_pip_packages: ['boto3[crt,a.b]>=1,!=1.5,']}",
	"iam: {task_statements: [{actions: ['S3:GetObject'], resources: ['arn:aws:bedrock:us-east-1::foundation-model/*', 'arn:aws:ec2:us-east-1::image/*', 'arn:aws:route53:::hostedzone/Z1'], conditions: {StringEquals: {'cognito-identity.amazonaws.com:sub': x, 'aws:ResourceTag/cost center': y}, BinaryEquals: {'kms:x': QUJD}, NotIpAddress: {'aws:SourceIp': '::1'}}}]}",
	"network: {egress: [{description: NTP, protocol: udp, from_port: 123, cidr: 169.254.169.123/32}, {description: all, from_port: 1, to_port: 65535, cidr: 0.0.0.0/0}]}",
}

func TestAlsoAccepted(t *testing.T) {
	for _, yaml := range alsoAccepted {
		loadOne(t, yaml)
	}
}

// many returns n entries of this form, each with its number.
func many(n int, form string) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(form, i))
	}
	return strings.Join(all, ", ")
}

// ecsPool is what an ecs pool brings with it.
func ecsPool(e *Environment) {
	e.WorkPool.Type, e.Worker.ConcurrencyLimit = PoolECS, 0
	e.WorkPool.Job.Image, e.IAM.FlowTaskFamilies = e.Worker.Image, []string{"prefect_ecs-work-pool_"}
}

func TestAccepted(t *testing.T) {
	for _, test := range accepted {
		t.Run(test.yaml, func(t *testing.T) {
			// GIVEN the defaults with some options changed
			want := Default("dev")
			test.set(want)
			// WHEN the file sets them
			got := loadOne(t, test.yaml)
			// THEN nothing else differs
			if diff := cmp.Diff(want, got, ignoreSource, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(- want, + got)\n%s", diff)
			}
		})
	}
}

// TestEveryOptionIsRejected: an option of which no wrong value was tried is not done.
func TestEveryOptionIsRejected(t *testing.T) {
	wrong := map[string]bool{}
	for _, test := range rejected {
		for _, key := range strings.Fields(test.keys) {
			for ; key != ""; key = parent(key) {
				wrong[key] = true
			}
		}
	}
	for _, o := range Options() {
		if !wrong[o.Key] {
			t.Errorf("%s is in no row of rejected", o.Key)
		}
	}
}

// TestRejected has one case for each thing that is rejected. The messages, which are literals beside
// their rules, are held to their form.
func TestRejected(t *testing.T) {
	for _, test := range rejected {
		t.Run(test.name, func(t *testing.T) {
			// WHEN the configuration is read
			_, err := load(t, map[string]string{"dev.yaml": test.yaml})
			// THEN it is rejected for just the keys that are wrong
			problems, ok := err.(Problems)
			if !ok {
				t.Fatalf("the configuration should be rejected with Problems, got %v", err)
			}
			var keys []string
			for _, p := range problems {
				if p.Key != "" {
					keys = append(keys, p.Key)
				}
				// AND with the place, the rule and the fix
				if p.File != "config/environments/dev.yaml" || !sentence(p.Rule) || !sentence(p.Fix) || strings.Contains(p.Rule+p.Fix, "%!") {
					t.Errorf("not a message: %s", p)
				}
			}
			if diff := cmp.Diff(strings.Fields(test.keys), keys, cmpopts.EquateEmpty(), cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("keys (- want, + got)\n%s", diff)
			}
		})
	}
}

// sentence reports whether text is one for the middle of a message: not empty, without a full stop.
func sentence(text string) bool {
	return text != "" && text == strings.TrimSpace(text) && !strings.HasSuffix(text, ".")
}

func TestAMessage(t *testing.T) {
	_, err := load(t, map[string]string{"dev.yaml": "region: us-east-1\nworker:\n  cpu: 300\nlogs:\n  gruop: /flows"})
	const want = `2 problems in the configuration, nothing was written

config/environments/dev.yaml:3: worker.cpu = 300
    rule: the value is one of 256, 512, 1024, 2048, 4096, 8192, 16384
    fix:  write one of them

config/environments/dev.yaml:5: logs.gruop = /flows
    rule: the key is not known; known here: existing, group, kms_key_arn, retention_days
    fix:  did you mean group? If not, remove the line`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}

var rejected = []struct{ name, yaml, keys string }{
	// What the file itself must be.
	{"invalid YAML", "worker:\n\tcpu: 256", ""},
	{"two documents", "region: us-east-1\n---\nregion: us-east-2", ""},
	{"a list instead of keys", "- region", ""},
	{"unknown key", "regoin: us-east-1", "regoin"},
	{"unknown key inside a block", "worker:\n  memroy: 512", "worker.memroy"},
	{"unknown key like a known one", "network:\n  vpc-cidr: 10.0.0.0/16", "network.vpc-cidr"},
	{"a key twice", "region: us-east-1\nregion: us-east-2", "region"},
	{"a variable twice", "worker:\n  environment:\n    A: '1'\n    A: '2'", "worker.environment.A"},
	{"text for a number", "worker: {cpu: '256'}", "worker.cpu"},
	{"a fraction for a whole number", "worker: {memory: 512.5}", "worker.memory"},
	{"a number for text", "worker: {environment: {A: 1}}", "worker.environment.A"},
	{"a variable without a value", "worker: {environment: {A: }}", "worker.environment.A"},
	{"text for a switch", "worker: {spot: 'yes'}", "worker.spot"},
	{"text for the endpoint", "network: {s3_endpoint: 'off'}", "network.s3_endpoint"},
	{"a number for a switch", "cluster: {container_insights: 1}", "cluster.container_insights"},
	{"a list for text", "region: [us-east-1]", "region"},
	{"text for a list", "work_pool: {queues: a}", "work_pool.queues"},
	{"a number in a list", "work_pool: {queues: [1]}", "work_pool.queues[0]"},
	{"text for a block", "network: none", "network"},
	{"several problems at once", "regoin: x\nworker: {cpu: '1', memory: 600, desired_count: -1}\nwork_pool: {type: prefect:managed}",
		"regoin worker.cpu worker.desired_count work_pool.type"},
	{"a key of the API in the file", "prefect:\n  api_key: pnu_0123456789abcdef", "prefect.api_key"},

	// General.
	{"region", "region: Frankfurt", "region"},
	{"account as a number", "account_id: 123456789012", "account_id"},
	{"account with a digit missing", "account_id: '12345678901'", "account_id"},
	{"suffix without a hyphen", "name_suffix: prod", "name_suffix"},
	{"tag of AWS", "tags: {'aws:x': y}", "tags.aws:x"},
	{"tag with a bracket", "tags: {Team: '${x}'}", "tags.Team"},

	// Network.
	{"network name", "network: {name: 'a b'}", "network.name"},
	{"VPC not a CIDR", "network: {vpc_cidr: 10.0.0.0}", "network.vpc_cidr"},
	{"VPC in IPv6", "network: {vpc_cidr: 'fd00::/16'}", "network.vpc_cidr"},
	{"VPC too large", "network: {vpc_cidr: 10.0.0.0/8}", "network.vpc_cidr"},
	{"VPC with host bits", "network: {vpc_cidr: 10.0.0.1/16}", "network.vpc_cidr"},
	{"VPC that does not hold the default subnets", "network: {vpc_cidr: 10.1.0.0/22}",
		"network.private_subnet_cidrs[0] network.private_subnet_cidrs[1] network.private_subnet_cidrs[2]"},
	{"subnet too small", "network: {public_subnet_cidrs: [10.0.1.0/29, 10.0.2.0/24, 10.0.3.0/24]}", "network.public_subnet_cidrs[0]"},
	{"subnets that overlap", "network: {private_subnet_cidrs: [10.0.4.0/24, 10.0.3.0/24, 10.0.6.0/24]}", "network.private_subnet_cidrs[1]"},
	{"more public than private subnets", "network: {private_subnet_cidrs: [10.0.4.0/24]}", "network.private_subnet_cidrs"},
	{"no subnets", "network: {public_subnet_cidrs: [], private_subnet_cidrs: []}", "network.public_subnet_cidrs network.private_subnet_cidrs"},
	{"seven subnets", "network:\n  public_subnet_cidrs: [10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24, 10.0.4.0/24, 10.0.5.0/24, 10.0.6.0/24, 10.0.7.0/24]\n  private_subnet_cidrs: [10.0.11.0/24, 10.0.12.0/24, 10.0.13.0/24, 10.0.14.0/24, 10.0.15.0/24, 10.0.16.0/24, 10.0.17.0/24]", "network.public_subnet_cidrs network.private_subnet_cidrs"},
	{"subnets too small for the tasks", "network:\n  public_subnet_cidrs: [10.0.1.0/28]\n  private_subnet_cidrs: [10.0.2.0/28]\nworker: {desired_count: 6}", "worker.desired_count"},
	{"two zones for three subnets", "network: {availability_zones: [us-east-1a, us-east-1b]}", "network.availability_zones"},
	{"zone of another region", "network: {availability_zones: [us-east-1a, us-east-1b, eu-west-1c]}", "network.availability_zones[2]"},
	{"one zone twice", "network: {availability_zones: [us-east-1a, us-east-1b, us-east-1a]}", "network.availability_zones[2]"},
	{"a key of an earlier release", "worker: {public_ip: true}", "worker.public_ip"},
	{"what workerctl adopt does now", "adopt: [log_group]", "adopt"},
	{"NAT mode", "network: {nat: instance}", "network.nat"},
	{"flow logs", "network: {flow_logs: accept}", "network.flow_logs"},
	{"a VPC that exists, by name", "network: {existing: {vpc_id: main, subnet_ids: [subnet-1]}}", "network.existing.vpc_id network.existing.subnet_ids[0]"},
	{"a VPC that exists without subnets", "network: {existing: {vpc_id: vpc-01234567}}", "network.existing.subnet_ids"},
	{"subnets that exist without a VPC", "network: {existing: {subnet_ids: [subnet-01234567]}}", "network.existing.vpc_id"},
	{"public subnets of no VPC", "network: {existing: {public: true}}", "network.existing.public"},
	{"settings of a network that is not made", "network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}, name: n, vpc_cidr: 10.1.0.0/16, public_subnet_cidrs: [10.1.0.0/24], private_subnet_cidrs: [10.1.1.0/24], map_public_ip_on_launch: true, availability_zones: [us-east-1a], nat: single, flow_logs: all, s3_endpoint: true}",
		"network.name network.vpc_cidr network.public_subnet_cidrs network.private_subnet_cidrs network.map_public_ip_on_launch network.availability_zones network.nat network.flow_logs network.s3_endpoint"},
	{"endpoints in public subnets that exist", "network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567], public: true}, endpoints: [ecr.api, ecr.dkr, logs, secretsmanager]}\nworker: {image: '123456789012.dkr.ecr.us-east-1.amazonaws.com/w:1', prefect_version: '3'}\nprefect: {api_url: 'http://10.0.0.7/api'}", "network.existing.public"},
	{"a database in public subnets that exist", "network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567, subnet-01234568], public: true}}\nserver: {enabled: true}", "network.existing.public"},
	{"a database in one subnet that exists", "network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}}\nserver: {enabled: true}", "network.existing.subnet_ids"},
	{"an endpoint that nothing here needs", "network: {endpoints: [lambda]}", "network.endpoints[0]"},
	{"endpoints without all that a worker needs", "network: {nat: none, endpoints: [logs]}\nwork_pool: {type: ecs}\nworker: {image: 'prefecthq/prefect:3-latest', secrets: {A: '" + parameter + "'}}",
		"network.endpoints worker.image work_pool.job.image prefect.api_url worker.extra_pip_packages"},
	{"endpoints without a way to S3", "network: {nat: none, endpoints: [ecr.api, ecr.dkr, logs, secretsmanager], s3_endpoint: false}\nworker: {image: '123456789012.dkr.ecr.eu-west-1.amazonaws.com/w:1', prefect_version: '3'}\nprefect: {api_url: 'http://10.1.0.7/api'}", "network.s3_endpoint worker.image prefect.api_url"},
	{"a server without the endpoint of its sessions", "network: {nat: none, endpoints: [ecr.api, ecr.dkr, logs, secretsmanager]}\nworker: {image: '123456789012.dkr.ecr.us-east-1.amazonaws.com/w:1', prefect_version: '3'}\nserver: {enabled: true}", "network.endpoints"},
	{"rules that say and lead nothing", "network: {egress: [{}, {description: a, from_port: 5, to_port: 4, cidr: 10.0.0.1/16}, {description: a, from_port: 5, cidr: 10.0.0.0/16, prefix_list_id: pl-01234567}]}",
		"network.egress[0] network.egress[0].description network.egress[0].from_port network.egress[1].cidr network.egress[1].to_port network.egress[2]"},
	{"rules of a form that AWS has not", "network: {egress: [{description: 'ä', protocol: icmp, from_port: 70000, to_port: 0, cidr: x}, {description: a, from_port: 1, prefix_list_id: x}, {description: a, from_port: 1, security_group_id: x}]}",
		"network.egress[0].description network.egress[0].protocol network.egress[0].from_port network.egress[0].to_port network.egress[0].cidr network.egress[1].prefix_list_id network.egress[2] network.egress[2].security_group_id"},
	{"rules in IPv6", "network: {egress: [{description: a, from_port: 1, cidr: '::/0'}]}", "network.egress[0].cidr"},
	{"a rule twice", "network: {egress: [{description: a, from_port: 1, cidr: 10.0.0.0/8}, {description: b, protocol: tcp, from_port: 1, to_port: 1, cidr: 10.0.0.0/8}, {description: c, from_port: 443, cidr: 0.0.0.0/0}]}", "network.egress[1] network.egress[2]"},
	{"a rule with an unknown key", "network: {egress: [{port: 1, description: a, from_port: 1, cidr: 10.0.0.0/8}]}", "network.egress[0].port"},
	{"rules that are no list", "network: {egress: {from_port: 1}}", "network.egress"},
	{"a group by name", "network: {security_group_ids: [default]}", "network.security_group_ids[0]"},
	{"a proxy with a password", "network: {proxy: 'http://u:p@proxy.example.com:3128'}", "network.proxy"},
	{"a proxy at no port", "network: {proxy: 'http://proxy.example.com:0'}", "network.proxy"},
	{"a proxy at a port beyond the last", "network: {proxy: 'http://proxy.example.com:99999'}", "network.proxy"},
	{"a proxy of an empty part", "network: {proxy: 'http://proxy..example.com:3128'}", "network.proxy"},
	{"a proxy on the task itself", "network: {proxy: 'http://localhost:3128'}", "network.proxy"},
	{"a proxy without a route", "network: {proxy: 'http://192.168.1.1:3128'}", "network.proxy"},
	{"hosts that nothing on the internet leads to", "network: {proxy: 'http://198.18.0.1:3128'}\nserver: {enabled: true, database: {existing_host: 100.64.0.9, existing_secret: '" + secret + "'}}", "network.proxy server.database.existing_host"},
	{"a part of a host's name that is too long", "network: {proxy: 'http://" + strings.Repeat("a", 64) + ".example.com:3128'}", "network.proxy"},
	{"a group's name that EC2 keeps", "network: {security_group_name: SG-prefect}", "network.security_group_name"},
	{"the name of each VPC's own group", "network: {security_group_name: default}", "network.security_group_name"},
	{"one name for two groups", "network: {security_group_name: Prefect_server_sg}\nserver: {enabled: true}", "network.security_group_name"},
	{"an API without a route", "prefect: {api_url: 'http://192.168.7.7:4200/api'}", "prefect.api_url"},
	{"a database without a route", "server: {enabled: true, database: {existing_host: 172.31.0.9, existing_secret: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf'}}", "server.database.existing_host"},
	{"exceptions that are no hosts", "network: {proxy: 'http://proxy.example.com:3128', no_proxy: [a..b, 10.0.0.256, -a]}", "network.no_proxy[0] network.no_proxy[1] network.no_proxy[2]"},
	{"a namespace over the proxy", "cluster: {namespace: Example.com}\nnetwork: {proxy: 'http://proxy.example.com:3128'}", "cluster.namespace"},
	{"a namespace over the registry of flow tasks", "cluster: {namespace: example.com}\nworker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: 'reg.example.com/w:1'}}", "cluster.namespace"},
	{"a namespace over the database", "cluster: {namespace: company.local}\nnetwork: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}}\nserver: {enabled: true, database: {existing_host: db.company.local, existing_secret: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf'}}", "cluster.namespace"},
	{"a namespace over the logs", "cluster: {namespace: logs.us-east-1.amazonaws.com}", "cluster.namespace"},
	{"a proxy that is overridden", "network: {proxy: 'http://proxy.example.com:3128'}\nworker: {environment: {no_proxy: x, ALL_PROXY: y}}", "worker.environment.ALL_PROXY worker.environment.no_proxy"},
	{"the proxy's port opened twice", "network: {proxy: 'http://proxy.example.com:3128', egress: [{description: Proxy, from_port: 3128, cidr: 0.0.0.0/0}]}", "network.egress[0]"},
	{"a reserved word", "worker: {image: 'prefecthq/prefect:3-latest'}\nserver: {enabled: true, database: {user: select, name: pg_x, instance_class: db.t2.micro}}", "server.database.user server.database.name server.database.instance_class"},
	{"a server without a password", "worker: {image: 'prefecthq/prefect:3.1.12-python3.12'}\nserver: {enabled: true}", "worker.image"},
	{"a database on the task itself", "worker: {image: 'prefecthq/prefect:3-latest'}\nserver: {enabled: true, database: {existing_host: localhost, existing_secret: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf'}}", "server.database.existing_host"},
	{"an ARN of no partition", "secret: {existing_arn: 'arn:awsfoo:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf'}", "secret.existing_arn"},
	{"a key with two slashes", "backend: {type: s3, bucket: example-states, key: a//b}", "backend.key"},
	{"an address that SNS does not take", "monitoring: {enabled: true, emails: ['a..b@example.com', 'é@example.com']}", "monitoring.emails[0] monitoring.emails[1]"},
	{"a proxy without a port", "network: {proxy: 'http://proxy.example.com'}", "network.proxy"},
	{"exceptions of no proxy", "network: {no_proxy: [example.internal]}", "network.no_proxy"},
	{"an exception that Python does not take", "network: {proxy: 'http://proxy.example.com:3128', no_proxy: [10.0.0.0/8]}", "network.no_proxy[0]"},
	{"a proxy in two places", "network: {proxy: 'http://proxy.example.com:3128'}\nworker: {environment: {HTTPS_PROXY: x}, image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {environment: {http_proxy: x}}}", "worker.environment.HTTPS_PROXY work_pool.job.environment.http_proxy"},
	{"a disk that Fargate has not", "worker: {ephemeral_storage: 20}", "worker.ephemeral_storage"},

	// Cluster and worker.
	{"cluster name", "cluster: {name: 'a b'}", "cluster.name"},
	{"namespace", "cluster: {namespace: Default_X}", "cluster.namespace"},
	{"service name", "worker: {service_name: 'a/b'}", "worker.service_name"},
	{"CPU that Fargate lacks", "worker: {cpu: 300}", "worker.cpu"},
	{"memory that Fargate lacks for the CPU", "worker: {memory: 600}", "worker.memory"},
	{"default memory with a larger CPU", "worker: {cpu: 1024}", "worker.memory"},
	{"too much memory for the CPU", "worker: {cpu: 512, memory: 8192}", "worker.memory"},
	{"memory between the steps", "worker: {cpu: 8192, memory: 17408}", "worker.memory"},
	{"architecture", "worker: {architecture: ARM64}", "worker.architecture"},
	{"negative count", "worker: {desired_count: -1}", "worker.desired_count"},
	{"capacity on demand without Spot", "worker: {on_demand_base: 1, on_demand_weight: 1}", "worker.on_demand_base worker.on_demand_weight"},
	{"capacity below none", "worker: {spot: true, on_demand_base: -1, on_demand_weight: 101}", "worker.on_demand_base worker.on_demand_weight"},
	{"text for a shell", "worker: {execute_command: bash}", "worker.execute_command"},
	{"a shell without its endpoint", "network: {nat: none, endpoints: [ecr.api, ecr.dkr, logs, secretsmanager]}\nworker: {execute_command: true, image: '123456789012.dkr.ecr.us-east-1.amazonaws.com/w:1', prefect_version: '3'}\nprefect: {api_url: 'http://10.0.0.7/api'}", "network.endpoints"},
	{"text for protection", "protect: [vpc]", "protect"},
	{"a role to assume by name", "assume_role_arn: deployer", "assume_role_arn"},
	{"a role to assume in another account", "account_id: '111111111111'\nassume_role_arn: '" + role + "'", "assume_role_arn"},
	{"a role for the state by name", "backend: {type: s3, bucket: states, assume_role_arn: states}", "backend.assume_role_arn"},
	{"a role for a local state", "backend: {assume_role_arn: '" + role + "'}", "backend.assume_role_arn"},
	{"stop timeout beyond Fargate's", "worker: {stop_timeout: 300}", "worker.stop_timeout"},
	{"scaling for an ecs pool", "work_pool: {type: ecs}\nworker: {image: 'prefecthq/prefect:3-latest', scaling: {min: 0, max: 4}}", "worker.scaling.max worker.scaling.min"},
	{"protection for an ecs pool", "work_pool: {type: ecs}\nworker: {image: 'prefecthq/prefect:3-latest', protect_runs: true}", "worker.protect_runs"},
	{"scaling without its end", "worker: {scaling: {min: 1}}", "worker.scaling.min"},
	{"more tasks at the least than at the most", "worker: {scaling: {min: 3, max: 2}}", "worker.scaling.min"},
	{"a number of tasks that is scaled", "worker: {desired_count: 2, scaling: {max: 2}}", "worker.desired_count"},
	{"scaling without protection", "worker: {protect_runs: false, scaling: {max: 2}}", "worker.protect_runs"},
	{"more tasks than addresses while a deployment runs", "worker: {scaling: {max: 20}}\nnetwork: {private_subnet_cidrs: [10.0.4.0/28, 10.0.5.0/28, 10.0.6.0/28]}", "worker.scaling.max"},
	{"a name for a role of the probe that is too long", "worker: {service_name: " + strings.Repeat("a", 50) + ", scaling: {max: 2}}", "worker.service_name"},
	{"a probe that reaches nothing", "worker: {scaling: {max: 2}}\nnetwork: {nat: none}\nprefect: {api_url: 'http://10.0.0.9:4200/api'}", "network.nat"},
	{"memory for no run", "worker: {memory: 300}", "worker.memory worker.concurrency_limit"},
	{"more runs than memory beside the guard", "worker: {cpu: 2048, memory: 10240, concurrency_limit: 74, protect_runs: true}", "worker.concurrency_limit"},
	{"more runs than memory", "worker: {concurrency_limit: 3}", "worker.concurrency_limit"},
	{"variable name", "worker: {environment: {A-B: x}}", "worker.environment.A-B"},
	{"variables of the program in another case, and those of ECS", "worker: {environment: {prefect_api_url: x, ECS_AGENT_URI: x, AWS_CONTAINER_CREDENTIALS_FULL_URI: x}, secrets: {Prefect_Api_Key: '" + secret + "'}}",
		"worker.environment.AWS_CONTAINER_CREDENTIALS_FULL_URI worker.environment.ECS_AGENT_URI worker.environment.prefect_api_url worker.secrets.Prefect_Api_Key"},
	{"a worker that starts tasks in another region", "worker: {environment: {AWS_DEFAULT_REGION: eu-west-1}}\nwork_pool: {type: ecs}", "worker.environment.AWS_DEFAULT_REGION"},
	{"parameters of no name", "worker: {secrets: {A: '" + parameter + "//x', B: '" + parameter + "/'}}", "worker.secrets.A worker.secrets.B"},
	{"user and password for ECR", "worker: {image: '123456789012.dkr.ecr.us-east-1.amazonaws.com/w:1', prefect_version: '3', registry_credentials: '" + secret + "'}", "worker.registry_credentials"},
	{"a registry of ECR with a digit missing", "worker: {image: '12345678901.dkr.ecr.us-east-1.amazonaws.com/w:1', prefect_version: '3'}", "worker.image"},
	{"a block that is none to be merged", "worker: {environment: {<<: x, A: y}}", "worker.environment"},
	{"API key as a variable", "worker: {environment: {PREFECT_API_KEY: pnu_0123456789abcdef}}", "worker.environment.PREFECT_API_KEY"},
	{"port of the health check", "worker: {environment: {PREFECT_WORKER_WEBSERVER_PORT: '9'}}", "worker.environment.PREFECT_WORKER_WEBSERVER_PORT"},
	{"a credential under another name", "worker: {environment: {HARMLESS: AKIAIOSFODNN7EXAMPLE}}", "worker.environment.HARMLESS"},
	{"a secret that is no ARN", "worker: {secrets: {DB: hunter2}}", "worker.secrets.DB"},
	{"a secret without AWS's six characters", "worker: {secrets: {DB: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:db'}}", "worker.secrets.DB"},
	{"the API key as a further secret", "worker: {secrets: {PREFECT_API_KEY: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf'}}", "worker.secrets.PREFECT_API_KEY"},
	{"a variable and a secret", "worker: {environment: {DB: x}, secrets: {DB: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf'}}", "worker.secrets.DB"},

	// Image x Prefect x pool x packages.
	{"image reference", "worker: {image: 'Prefect Image'}", "worker.image"},
	{"image without a tag", "worker: {image: prefecthq/prefect}", "worker.image"},
	{"image latest", "worker: {image: 'prefecthq/prefect:latest'}", "worker.image"},
	{"image of unknown content", "worker: {image: 'example.com/worker:1.2.3'}", "worker.image"},
	{"Prefect too old", "worker: {image: 'prefecthq/prefect:2.10.0-python3.11'}", "worker.image"},
	{"Prefect too new", "worker: {image: 'prefecthq/prefect:4-latest'}", "worker.image"},
	{"Prefect version", "worker: {image: 'example.com/w:1', prefect_version: three}", "worker.prefect_version"},
	{"managed pool", "work_pool: {type: 'Prefect:managed'}", "work_pool.type"},
	{"push pool", "work_pool: {type: 'ecs:push'}", "work_pool.type"},
	{"docker pool", "work_pool: {type: docker}", "work_pool.type"},
	{"unknown pool", "work_pool: {type: fargate}", "work_pool.type"},
	{"pool name with a slash", "work_pool: {name: a/b}", "work_pool.name"},
	{"pool name of Prefect's", "work_pool: {name: prefect-pool}", "work_pool.name"},
	{"queue twice", "work_pool: {queues: [a, a]}", "work_pool.queues[1]"},
	{"prefect as a package", "worker: {extra_pip_packages: [prefect==3.0.0]}", "worker.extra_pip_packages[0]"},
	{"requirements that pip cannot read", "worker: {extra_pip_packages: ['boto3==1.0==2.0', 'pandas[,]', 'a[b,]']}", "worker.extra_pip_packages[0] worker.extra_pip_packages[1] worker.extra_pip_packages[2]"},
	{"two packages in one entry", "worker: {extra_pip_packages: ['a b']}", "worker.extra_pip_packages[0]"},
	{"prefect-aws unpinned in a 2.x image", "worker: {extra_pip_packages: [prefect_aws]}", "worker.extra_pip_packages[0]"},
	{"prefect-aws for Prefect 3 in a 2.x image", "worker: {extra_pip_packages: [prefect-aws==0.7.11]}", "worker.extra_pip_packages[0]"},
	{"prefect-aws for Prefect 2 in a 3.x image", "worker: {image: 'prefecthq/prefect:3-latest', extra_pip_packages: [prefect-aws==0.4.20]}", "worker.extra_pip_packages[0]"},
	{"ecs pool with an image that lacks prefect-aws", "worker: {image: 'example.com/w:1', prefect_version: '3'}\nwork_pool: {type: ecs}", "worker.image"},
	{"packages with an image that does not install them", "worker: {image: 'example.com/w:1', prefect_version: '3', extra_pip_packages: [s3fs]}", "worker.extra_pip_packages"},

	// Prefect API.
	{"API on the web page's host", "prefect: {api_url: 'https://app.prefect.cloud/account/1/workspace/2'}", "prefect.api_url"},
	{"API with account in the singular", "prefect: {api_url: 'https://api.prefect.cloud/api/account/11111111-1111-4111-8111-111111111111/workspace/22222222-2222-4222-8222-222222222222'}", "prefect.api_url"},
	{"API without a workspace", "prefect: {api_url: 'https://api.prefect.cloud/api'}", "prefect.api_url"},
	{"self-hosted API without /api", "prefect: {api_url: 'https://prefect.example.com'}", "prefect.api_url"},
	{"API with a password", "prefect: {api_url: 'https://u:p@prefect.example.com/api'}", "prefect.api_url"},
	{"API on a bad port", "prefect: {api_url: 'https://prefect.example.com:99999/api'}", "prefect.api_url"},
	{"API on this machine", "prefect: {api_url: 'http://127.0.0.1:4200/api'}", "prefect.api_url"},
	{"API and ids", "prefect: {api_url: 'https://prefect.example.com/api', account_id: 11111111-1111-4111-8111-111111111111}", "prefect.api_url"},
	{"account not a UUID", "prefect: {account_id: me}", "prefect.account_id"},
	{"workspace not a UUID", "prefect: {workspace_id: me}", "prefect.workspace_id"},

	// Secret, logs, roles, backend.
	{"secret name", "secret: {name: 'a b'}", "secret.name"},
	{"secret version", "secret: {version: 0}", "secret.version"},
	{"recovery window", "secret: {recovery_window_days: 3}", "secret.recovery_window_days"},
	{"existing secret without AWS's six characters", "secret: {existing_arn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:key'}", "secret.existing_arn"},
	{"JSON key of the program's own secret", "secret: {json_key: k}", "secret.json_key"},
	{"key alias", "secret: {kms_key_arn: 'arn:aws:kms:us-east-1:123456789012:alias/x'}", "secret.kms_key_arn"},
	{"log group", "logs: {group: 'a b'}", "logs.group"},
	{"log group of AWS", "logs: {group: aws/x}", "logs.group"},
	{"log retention", "logs: {retention_days: 31}", "logs.retention_days"},
	{"log key", "logs: {kms_key_arn: x}", "logs.kms_key_arn"},
	{"role name too long", "iam: {execution_role_name: " + strings.Repeat("x", 65) + "}", "iam.execution_role_name"},
	{"one role for both", "iam: {task_role_name: prefect-task-execution-role}", "iam.task_role_name"},
	{"boundary", "iam: {permissions_boundary_arn: x}", "iam.permissions_boundary_arn"},
	{"task policy", "iam: {task_policy_arns: [AdministratorAccess]}", "iam.task_policy_arns[0]"},
	{"execution policy", "iam: {execution_policy_arns: [AdministratorAccess]}", "iam.execution_policy_arns[0]"},
	{"text for addresses of public subnets", "network: {map_public_ip_on_launch: 'on'}", "network.map_public_ip_on_launch"},
	{"name of the security group", "network: {security_group_name: 'a '}", "network.security_group_name"},
	{"family of the task definition", "worker: {task_family: a/b}", "worker.task_family"},
	{"name of the container", "worker: {container_name: a b}", "worker.container_name"},
	{"flow roles of a process pool", "iam: {flow_execution_role_name: a, flow_task_role: {name: b, policy_arns: ['arn:aws:iam::123456789012:policy/p']}}",
		"iam.flow_execution_role_name iam.flow_task_role.name iam.flow_task_role.policy_arns"},
	{"no monitoring, but its settings", "monitoring: {emails: [a@example.com], topic_arn: 'arn:aws:sns:us-east-1:123456789012:on-call', late_minutes: 3, pending_minutes: 30}", "monitoring.emails monitoring.topic_arn monitoring.late_minutes monitoring.pending_minutes"},
	{"alarms that nobody gets", "monitoring: {enabled: true}", "monitoring.emails"},
	{"alarms to a topic and to addresses", "monitoring: {enabled: true, emails: [a@example.com], topic_arn: 'arn:aws:sns:us-east-1:123456789012:on-call'}", "monitoring.emails"},
	{"monitoring", "monitoring: {enabled: maybe, topic_arn: 'arn:aws:sns:us-east-1:123456789012:on-call.fifo', late_minutes: 0, pending_minutes: 1}", "monitoring.enabled monitoring.topic_arn monitoring.late_minutes monitoring.pending_minutes"},
	{"an address with a part that is too long", "monitoring: {enabled: true, emails: [a@" + strings.Repeat("a", 64) + ".com]}", "monitoring.emails[0]"},
	{"an address without a host", "monitoring: {enabled: true, emails: [on-call]}", "monitoring.emails[0]"},
	{"a topic in another region", "monitoring: {enabled: true, topic_arn: 'arn:aws:sns:eu-west-1:123456789012:on-call'}", "monitoring.topic_arn"},
	{"a service whose alarms have too long names", "monitoring: {enabled: true, emails: [a@example.com]}\nworker: {service_name: " + strings.Repeat("w", 47) + "}", "worker.service_name"},
	{"a probe that reaches nothing", "monitoring: {enabled: true, emails: [a@example.com]}\nserver: {enabled: true}\nnetwork: {nat: none}", "network.nat"},
	{"a probe of a private API that reaches nothing", "monitoring: {enabled: true, emails: [a@example.com]}\nprefect: {api_url: 'http://10.0.9.3:4200/api'}\nnetwork: {nat: none}", "network.nat"},
	{"a role of flows without rights", "work_pool: {type: ecs}\niam: {flow_task_role: {name: b}}", "iam.flow_task_role.name"},
	{"a role of flows that is the worker's", "work_pool: {type: ecs}\niam: {flow_task_role: {name: Prefect-task-role, policy_arns: ['arn:aws:iam::123456789012:policy/p']}}", "iam.flow_task_role.name"},
	{"an execution role of flows that is the worker's", "work_pool: {type: ecs}\niam: {flow_execution_role_name: prefect-task-execution-role}", "iam.flow_execution_role_name"},
	{"a policy of an earlier release", "work_pool: {type: ecs}\niam: {flow_task_role: {policy: '{}'}}", "iam.flow_task_role.policy"},
	{"statements of which something is missing", "iam: {task_statements: [{}]}", "iam.task_statements[0].actions iam.task_statements[0].resources"},
	{"statements that allow everything", "iam: {task_statements: [{actions: ['*', 's3:*', s3], resources: ['*']}, {actions: [s3:GetObject], resources: [bucket, 'arn:aws:s3:::b'], all_resources: true}]}",
		"iam.task_statements[0].actions[0] iam.task_statements[0].actions[1] iam.task_statements[0].actions[2] iam.task_statements[0].resources iam.task_statements[1].resources[0] iam.task_statements[1].all_resources"},
	{"statements that deny", "iam: {task_statements: [{effect: Deny, actions: [s3:GetObject], resources: ['arn:aws:s3:::b']}]}", "iam.task_statements[0].effect"},
	{"conditions that IAM has not", "iam: {task_statements: [{actions: [s3:GetObject], resources: ['arn:aws:s3:::b'], conditions: {Equals: {'a:b': c}, StringLike: {region: d}}}]}", "iam.task_statements[0].conditions.Equals iam.task_statements[0].conditions.StringLike.region"},
	{"conditions that are no text", "iam: {task_statements: [{actions: [s3:GetObject], resources: ['arn:aws:s3:::b'], conditions: {Bool: {'aws:SecureTransport': true}}}]}", "iam.task_statements[0].conditions.Bool.aws:SecureTransport"},
	{"more statements than a policy holds", "iam: {task_statements: [{actions: [" + many(400, "s3:GetObject%d") + "], resources: ['arn:aws:s3:::b']}]}", "iam.task_statements"},
	{"statements and families that are too long together", "work_pool: {type: ecs}\niam: {flow_task_families: [" + many(8, "family-%d") + "], task_statements: [{actions: [" + many(200, "s3:GetObject%d") + "], resources: ['arn:aws:s3:::b']}]}", "iam.flow_task_families"},
	{"statements of flows that are too long", "work_pool: {type: ecs}\niam: {flow_task_role: {statements: [{actions: [" + many(600, "s3:GetObject%d") + "], resources: ['arn:aws:s3:::b']}]}}", "iam.flow_task_role.statements"},
	{"statements of flows that a process pool has not", "iam: {flow_task_role: {statements: [{actions: [s3:GetObject], resources: ['arn:aws:s3:::b']}]}}", "iam.flow_task_role.statements"},
	{"a path without slashes", "iam: {path: flows}", "iam.path"},
	{"roles that exist, by name", "work_pool: {type: ecs}\niam: {existing: {execution_role: a, task_role: b, flow_execution_role: c, flow_task_role: d}}", "iam.existing.execution_role iam.existing.task_role iam.existing.flow_execution_role iam.existing.flow_task_role"},
	{"settings of roles that are not made", "work_pool: {type: ecs}\niam: {execution_role_name: a, execution_policy_arns: ['" + policy + "'], task_role_name: b, task_policy_arns: ['" + policy + "'], task_statements: [{actions: [s3:GetObject], resources: ['arn:aws:s3:::b']}], flow_execution_role_name: c, flow_task_role: {name: d, policy_arns: ['" + policy + "']}, existing: {execution_role: '" + role + "1', task_role: '" + role + "2', flow_execution_role: '" + role + "3', flow_task_role: '" + role + "4'}}",
		"iam.execution_role_name iam.execution_policy_arns iam.task_role_name iam.task_policy_arns iam.task_statements iam.flow_execution_role_name iam.flow_task_role.name iam.flow_task_role.policy_arns"},
	{"one role that exists for all", "work_pool: {type: ecs}\niam: {existing: {execution_role: '" + role + "', task_role: '" + role + "', flow_execution_role: '" + role + "'}}", "iam.existing.task_role iam.existing.flow_execution_role"},
	{"roles of flows that a process pool has not", "iam: {existing: {flow_execution_role: '" + role + "1', flow_task_role: '" + role + "2'}}", "iam.existing.flow_execution_role iam.existing.flow_task_role"},
	{"a role that exists in another account", "account_id: '111111111111'\niam: {existing: {task_role: '" + role + "'}}", "iam.existing.task_role"},
	{"a cluster that exists and has no name", "cluster: {existing: true, container_insights: false}", "cluster.name cluster.container_insights"},
	{"an existing cluster by name", "cluster: {existing: main}", "cluster.existing"},
	{"a log group that exists and has no name", "logs: {existing: true, retention_days: 7, kms_key_arn: '" + key + "'}\nnetwork: {flow_logs: none}", "logs.group logs.retention_days logs.kms_key_arn"},
	{"an existing log group by name", "logs: {existing: main}", "logs.existing"},
	{"a server without a namespace", "cluster: {namespace: none}\nserver: {enabled: true}", "cluster.namespace"},
	{"credentials of a registry that are no ARN", "worker: {registry_credentials: hunter2}", "worker.registry_credentials"},
	{"keys of nothing", "worker: {kms_key_arns: ['" + key + "']}", "worker.kms_key_arns"},
	{"keys of another region", "worker: {kms_key_arns: ['" + stateKey + "'], registry_credentials: '" + secret + "'}", "worker.kms_key_arns[0]"},
	{"jobs of a process pool", "work_pool: {job: {image: 'a:1', cpu: 1024, memory: 2048, ephemeral_storage: 30, spot: true, deregister: true, environment: {A: b}, secrets: {C: '" + secret + "'}, variables: {command: b}}}",
		"work_pool.job.image work_pool.job.cpu work_pool.job.memory work_pool.job.ephemeral_storage work_pool.job.spot work_pool.job.deregister work_pool.job.environment work_pool.job.secrets work_pool.job.variables"},
	{"a job that Fargate lacks", "work_pool: {type: ecs, job: {memory: 512}}", "work_pool.job.memory"},
	{"a job with a CPU that Fargate lacks", "work_pool: {type: ecs, job: {cpu: 300}}", "work_pool.job.cpu"},
	{"a job with a small disk", "work_pool: {type: ecs, job: {ephemeral_storage: 20}}", "work_pool.job.ephemeral_storage"},
	{"a job's image that is a URL", "worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: 'https://example.com/a:1'}}", "work_pool.job.image"},
	{"a job's image of another Prefect", "worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: 'prefecthq/prefect:2-latest'}}", "work_pool.job.image"},
	{"a job's image with a blank", "work_pool: {type: ecs, job: {image: 'a b'}}", "work_pool.job.image"},
	{"variables of a job", "work_pool: {type: ecs, job: {variables: {cluster: a, api_token: abcdef123456, 'a-b': c, env: '{}', aws_credentials: d, comand: e}}}",
		"work_pool.job.variables.a-b work_pool.job.variables.api_token work_pool.job.variables.aws_credentials work_pool.job.variables.cluster work_pool.job.variables.comand work_pool.job.variables.env"},
	{"variables of another type than the template's", "work_pool: {type: ecs, job: {variables: {match_latest_revision_in_family: maybe, labels: a, command: '[]', container_name: a b, name: '5', task_start_timeout_seconds: soon}}}",
		"work_pool.job.variables.match_latest_revision_in_family work_pool.job.variables.labels work_pool.job.variables.command work_pool.job.variables.container_name work_pool.job.variables.name work_pool.job.variables.task_start_timeout_seconds"},
	{"a variable that the template of Prefect 3 has not", "worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {variables: {stream_output: 'true'}}}", "work_pool.job.variables.stream_output"},
	{"a task definition that the worker may not run", "work_pool: {type: ecs, job: {secrets: {A: '" + secret + "'}, variables: {task_definition_arn: 'arn:aws:ecs:us-east-1:123456789012:task-definition/other:1'}}}", "work_pool.job.variables.task_definition_arn work_pool.job.secrets"},
	{"a task definition of another account", "account_id: '111111111111'\nwork_pool: {type: ecs, job: {variables: {task_definition_arn: 'arn:aws:ecs:us-east-1:123456789012:task-definition/prefect_ecs-work-pool_x:1'}}}", "work_pool.job.variables.task_definition_arn"},
	{"variables and secrets of flow tasks", "work_pool: {type: ecs, job: {environment: {PREFECT_API_URL: a, DB_PASSWORD: hunter2, A: a}, secrets: {A: '" + secret + "', B: hunter2, C: '" + strings.Replace(secret, "us-east-1", "eu-west-1", 1) + "'}}}",
		"work_pool.job.environment.DB_PASSWORD work_pool.job.environment.PREFECT_API_URL work_pool.job.secrets.A work_pool.job.secrets.B work_pool.job.secrets.C"},
	{"secrets that prefect-aws drops", "worker: {image: 'prefecthq/prefect:3.6.1-python3.12'}\nwork_pool: {type: ecs, job: {secrets: {A: '" + secret + "'}}}", "work_pool.job.secrets"},
	{"a blank in the name of an ecs pool", "work_pool: {type: ecs, name: my pool}", "work_pool.name"},
	{"a long name of an ecs pool", "work_pool: {type: ecs, name: " + strings.Repeat("p", 211) + "}", "work_pool.name"},
	{"families that are the worker's", "work_pool: {type: ecs}\niam: {flow_task_families: [etl, dev]}", "iam.flow_task_families[1]"},
	{"families of the program's own task definitions", "work_pool: {type: ecs}\nworker: {task_family: etl-worker}\nserver: {enabled: true}\niam: {flow_task_families: [etl, prefect-]}", "iam.flow_task_families[0] iam.flow_task_families[1]"},
	{"a worker in the families of its flows", "work_pool: {type: ecs, name: p}\nworker: {service_name: prefect_p_worker}", "iam.flow_task_families[0]"},
	{"flow role of a process pool", "iam: {flow_role_arns: ['arn:aws:iam::123456789012:role/flow']}", "iam.flow_role_arns"},
	{"roles of others for flows", "work_pool: {type: ecs}\nmonitoring: {enabled: true, emails: [a@example.com]}\niam: {flow_role_arns: ['arn:aws:iam::123456789012:role/prefect-ecs-flow-logs', 'arn:aws:iam::123456789012:role/Prefect-Task-Role', 'arn:aws:iam::123456789012:role/dev-worker-probe-schedule', 'arn:aws:iam::123456789012:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS']}",
		"iam.flow_role_arns[0] iam.flow_role_arns[1] iam.flow_role_arns[2] iam.flow_role_arns[3]"},
	{"a role to assume that the stack makes", "assume_role_arn: arn:aws:iam::123456789012:role/prefect-task-role", "assume_role_arn"},
	{"a role for the state in another partition", "backend: {type: s3, bucket: states, assume_role_arn: 'arn:aws-cn:iam::999999999999:role/states'}", "backend.assume_role_arn"},
	{"the worker's role for flows", "work_pool: {type: ecs}\niam: {flow_role_arns: ['arn:aws:iam::123456789012:role/prefect-task-execution-role']}", "iam.flow_role_arns[0]"},
	{"existing roles that the stack makes", "work_pool: {type: ecs}\niam: {existing: {task_role: 'arn:aws:iam::123456789012:role/Prefect-task-execution-role', flow_execution_role: 'arn:aws:iam::123456789012:role/x/prefect-task-execution-role'}}", "iam.existing.task_role iam.existing.flow_execution_role"},
	{"an existing role of the worker for flows", "work_pool: {type: ecs}\niam: {existing: {execution_role: 'arn:aws:iam::123456789012:role/a', flow_task_role: 'arn:aws:iam::123456789012:role/a'}}", "iam.existing.flow_task_role"},
	{"a condition operator that IAM does not have", "iam: {task_statements: [{actions: ['s3:GetObject'], resources: ['arn:aws:s3:::a/*'], conditions: {StringEqual: {'aws:x': y}}}]}", "iam.task_statements[0].conditions.StringEqual"},
	{"values that an operator does not compare", "iam: {task_statements: [{actions: ['s3:GetObject'], resources: ['arn:aws:s3:::a/*'], conditions: {Bool: {'aws:SecureTransport': 'yes'}, NumericLessThan: {'s3:max-keys': ten}, IpAddress: {'aws:SourceIp': [10.0.0.0/8, 10.0.0.0/99]}, StringEquals: {'aws:x': []}, DateLessThan: {'aws:CurrentTime': '2030-13-01'}, BinaryEquals: {'kms:x': ä}, ArnLike: {'aws:SourceArn': bucket}}}]}",
		"iam.task_statements[0].conditions.Bool.aws:SecureTransport iam.task_statements[0].conditions.NumericLessThan.s3:max-keys iam.task_statements[0].conditions.IpAddress.aws:SourceIp iam.task_statements[0].conditions.StringEquals.aws:x iam.task_statements[0].conditions.DateLessThan.aws:CurrentTime iam.task_statements[0].conditions.BinaryEquals.kms:x iam.task_statements[0].conditions.ArnLike.aws:SourceArn"},
	{"ARNs that nothing has", "iam: {task_statements: [{actions: ['s3:GetObject'], resources: ['arn:aws-cn:s3:::b', 'arn:aws:s3:us-east-1::b', 'arn:aws:iam:us-east-1:123456789012:role/r', 'arn:aws:sqs::123456789012:q', 'arn:aws:sqs:us-east-9:123456789012:q', 'arn:aws:sqs:us-east-1:1234:q', 'arn:aws-foo:s3:::b', 'arn:aws:sqs:us-east-1::q', 'arn:aws:iam:::role/r', 'arn:aws:s3::123456789012:b']}]}",
		"iam.task_statements[0].resources[0] iam.task_statements[0].resources[1] iam.task_statements[0].resources[2] iam.task_statements[0].resources[3] iam.task_statements[0].resources[4] iam.task_statements[0].resources[5] iam.task_statements[0].resources[6] iam.task_statements[0].resources[7] iam.task_statements[0].resources[8] iam.task_statements[0].resources[9]"},
	{"a path of AWS", "iam: {path: /aws-service-role/ecs/}", "iam.path"},
	{"more tags than AWS takes", "tags: {" + many(47, "T%d: x") + "}", "tags"},
	{"a class of instances without PostgreSQL", "server: {enabled: true, database: {instance_class: db.r4.large}}", "server.database.instance_class"},
	{"a size that no instance has", "server: {enabled: true, database: {instance_class: db.t4g.4xlarge}}", "server.database.instance_class"},
	{"a size that no other instance has", "server: {enabled: true, database: {instance_class: db.m6g.micro}}", "server.database.instance_class"},
	{"a job's image on this machine", "worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: 'localhost:5000/a:1'}}", "work_pool.job.image"},
	{"a job's image that moves to the next major version", "worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: prefecthq/prefect}}", "work_pool.job.image"},
	{"an image of another partition", "worker: {image: '123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/w:1', prefect_version: '3'}", "worker.image"},
	{"a job's image at a closed port", "worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: 'reg.example.com:5000/a:1'}}", "work_pool.job.image"},
	{"a job's image in ECR of another region", "worker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: '123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1'}}", "work_pool.job.image"},
	{"a job's image in ECR of another account", "account_id: '111111111111'\nworker: {image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs, job: {image: '123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1'}}", "work_pool.job.image"},
	{"flow role that is a pattern", "work_pool: {type: ecs}\niam: {flow_role_arns: ['arn:aws:iam::123456789012:role/*']}", "iam.flow_role_arns[0]"},
	{"task family", "work_pool: {type: ecs}\niam: {flow_task_families: ['*']}", "iam.flow_task_families[0]"},
	{"no task family", "work_pool: {type: ecs}\niam: {flow_task_families: []}", "iam.flow_task_families"},
	{"no server, but its settings", "server: {cpu: 1024, memory: 2048, name: s, database: {multi_az: true}}", "server.cpu server.memory server.name server.database.multi_az"},
	{"a server and another API", "server: {enabled: true}\nprefect: {api_url: 'http://prefect.example.com:4200/api'}", "prefect.api_url"},
	{"a server and Prefect Cloud", "server: {enabled: true}\nprefect: {account_id: 11111111-1111-4111-8111-111111111111, workspace_id: 22222222-2222-4222-8222-222222222222}", "prefect.account_id prefect.workspace_id"},
	{"a server of Prefect 2 with a password", "server: {enabled: true}\nprefect: {authentication: basic}", "prefect.authentication"},
	{"a server with an API key", "server: {enabled: true}\nprefect: {authentication: api_key}\nworker: {image: 'prefecthq/prefect:3-latest'}", "prefect.authentication"},
	{"a server of Prefect 3 without a password", "server: {enabled: true}\nprefect: {authentication: none}\nworker: {image: 'prefecthq/prefect:3-latest'}", "prefect.authentication"},
	{"a server of a Prefect 3 that has no password", "server: {enabled: true}\nworker: {image: 'prefecthq/prefect:3.0.3-python3.12'}", "worker.image"},
	{"a server of Prefect 2 with a secret", "server: {enabled: true}\nsecret: {version: 2}", "secret.version"},
	{"a server of sizes that Fargate lacks", "server: {enabled: true, memory: 8192}", "server.memory"},
	{"a server called as the worker", "server: {enabled: true, name: dev-worker}", "server.name"},
	{"a server's name", "server: {enabled: true, name: Prefect_server}", "server.name"},
	{"a server in one zone", "server: {enabled: true}\nnetwork: {public_subnet_cidrs: [10.0.1.0/24], private_subnet_cidrs: [10.0.4.0/24]}", "network.private_subnet_cidrs"},
	{"text for a server", "server: {enabled: maybe}", "server.enabled"},
	{"a database", "server: {enabled: true, database: {instance_class: t4g.micro, engine_version: '13', storage: 5, multi_az: 2, backup_days: 36, deletion_protection: 1, final_snapshot: 1, password_version: 0, user: Admin, name: a-b, port: 22, existing_host: 'a b'}}",
		"server.database.existing_secret server.database.multi_az server.database.deletion_protection server.database.final_snapshot server.database.instance_class server.database.engine_version server.database.storage server.database.backup_days server.database.password_version server.database.user server.database.name server.database.port server.database.existing_host"},
	{"a user that RDS keeps", "server: {enabled: true, database: {user: rdsadmin}}", "server.database.user"},
	{"a password without a database", "server: {enabled: true, database: {existing_secret: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf'}}", "server.database.existing_secret"},
	{"a database without a password", "server: {enabled: true, database: {existing_host: db.example.com, storage: 40}}", "server.database.existing_secret server.database.storage"},
	{"the password of the in-stack server's database", "server: {enabled: true, name: db, database: {existing_host: db.example.com, existing_secret: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:db-database-AbCdEf'}}", "server.database.existing_secret"},
	{"a password in the Parameter Store", "server: {enabled: true, database: {existing_host: db.example.com, existing_secret: 'arn:aws:ssm:us-east-1:123456789012:parameter/db'}}", "server.database.existing_secret"},
	{"backend", "backend: {type: gcs}", "backend.type"},
	{"backend without a bucket", "backend: {type: s3}", "backend.bucket"},
	{"bucket of a local backend", "backend: {bucket: states}", "backend.bucket"},
	{"bucket name", "backend: {type: s3, bucket: My_Bucket}", "backend.bucket"},

	// What YAML reads otherwise than people.
	{"octal number", "worker: {memory: 0512}", "worker.memory"},
	{"hexadecimal number", "worker: {cpu: 0x100}", "worker.cpu"},
	{"number beyond any", "worker: {cpu: 99999999999999999999}", "worker.cpu"},
	{"unknown alias", "region: us-east-1\nlogs: {group: *other}", ""},
	{"not UTF-8", "region: us-east-1\nlogs: {group: \xff}", ""},
	{"NUL", "region: us-east-1\nlogs: {group: \x00}", ""},
	{"deep nesting", strings.Repeat("[", 20000), ""},
	{"an alias of itself", "work_pool: {queues: &q [*q]}", "work_pool.queues[0]"},

	// Credentials, in whatever place.
	{"a password in a package's URL", "worker: {extra_pip_packages: ['GIT+HTTPS://u:hunter2@github.com/x/y']}", "worker.extra_pip_packages[0]"},
	{"a password in an option of pip", "worker: {extra_pip_packages: ['--index-url=https://u:hunter2@pypi.example/simple']}", "worker.extra_pip_packages[0]"},
	{"a password by name", "worker: {environment: {DB_PASSWORD: hunter2}}", "worker.environment.DB_PASSWORD"},
	{"a password by name, as a number", "worker: {environment: {DB_PASSWORD: 12345}}", "worker.environment.DB_PASSWORD"},
	{"basic authentication as a variable", "worker: {environment: {PREFECT_API_AUTH_STRING: 'u:hunter2'}}", "worker.environment.PREFECT_API_AUTH_STRING"},
	{"the URL of a database", "worker: {environment: {PREFECT_DB: 'postgresql+asyncpg://u:hunter2@db/prefect'}}", "worker.environment.PREFECT_DB"},
	{"a token in a query", "worker: {environment: {HOOK: 'https://h.example/x?token=hunter2'}}", "worker.environment.HOOK"},
	{"a token as a tag", "tags: {Team: pnu_hunter2hunter2}", "tags.Team"},
	{"a token as a pool", "work_pool: {name: ghp_hunter2hunter2hunter2}", "work_pool.name"},
	{"a control character", "worker: {environment: {A: \"\\0\"}}", "worker.environment.A"},

	// Places in AWS.
	{"a region that does not exist", "region: us-east-9", "region"},
	{"a mistyped region", "region: eu-centrall-1", "region"},
	{"a state in a region that does not exist", "backend: {type: s3, bucket: states, region: eu-north-7}", "backend.region"},
	{"a zone that does not exist", "network: {availability_zones: [us-east-1a, us-east-1b, us-east-1z]}", "network.availability_zones[2]"},
	{"a local zone", "network: {availability_zones: [us-east-1a, us-east-1b, us-east-1-bos-1a]}", "network.availability_zones[2]"},
	{"a key of another region", "logs: {kms_key_arn: 'arn:aws:kms:eu-west-1:123456789012:key/1'}", "logs.kms_key_arn"},
	{"a key of another partition", "logs: {kms_key_arn: 'arn:aws-cn:kms:us-east-1:123456789012:key/1'}", "logs.kms_key_arn"},
	{"a key of another account", "account_id: '111111111111'\nsecret: {kms_key_arn: 'arn:aws:kms:us-east-1:222222222222:key/1'}", "secret.kms_key_arn"},
	{"a policy of another account", "account_id: '111111111111'\niam: {task_policy_arns: ['arn:aws:iam::222222222222:policy/p']}", "iam.task_policy_arns[0]"},
	{"policies of two accounts", "iam: {task_policy_arns: ['arn:aws:iam::aws:policy/A', 'arn:aws:iam::111111111111:policy/p', 'arn:aws:iam::222222222222:policy/p']}", "iam.task_policy_arns[2]"},
	{"a boundary of another partition", "region: us-gov-west-1\niam: {permissions_boundary_arn: 'arn:aws:iam::111111111111:policy/p'}", "iam.permissions_boundary_arn"},
	{"a role of another account", "account_id: '111111111111'\nwork_pool: {type: ecs}\niam: {flow_role_arns: ['arn:aws:iam::222222222222:role/r']}", "iam.flow_role_arns[0]"},
	{"a secret of another region", "worker: {secrets: {A: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf'}}", "worker.secrets.A"},
	{"an API key of another account", "account_id: '111111111111'\nsecret: {existing_arn: 'arn:aws:secretsmanager:us-east-1:222222222222:secret:db-AbCdEf'}", "secret.existing_arn"},
	{"a state's key of another region", "backend: {type: s3, bucket: states, kms_key_arn: 'arn:aws:kms:eu-west-1:123456789012:key/1'}", "backend.kms_key_arn"},
	{"a secret with version and stage", "worker: {secrets: {A: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf:k:AWSCURRENT:1'}}", "worker.secrets.A"},
	{"reserved range", "network: {vpc_cidr: 169.254.0.0/16}", "network.vpc_cidr"},
	{"multicast range", "network: {vpc_cidr: 239.1.0.0/16}", "network.vpc_cidr"},
	{"a range of AWS", "network: {vpc_cidr: 198.19.0.0/16}", "network.vpc_cidr"},
	{"loopback range", "network: {vpc_cidr: 127.0.0.0/16}", "network.vpc_cidr"},

	// Names: limits that suffixes break, and clashes.
	{"a service name that makes the rule's too long", "worker: {service_name: " + strings.Repeat("w", 53) + ", image: 'prefecthq/prefect:3-latest'}\nwork_pool: {type: ecs}", "worker.service_name"},
	{"log group and flow-log group", "logs: {group: /vpc/prefect-ecs}", "logs.group"},
	{"roles that differ by case", "iam: {execution_role_name: Worker, task_role_name: worker}", "iam.task_role_name"},
	{"a role and the flow logs' role", "iam: {task_role_name: Prefect-ECS-flow-logs}", "iam.task_role_name"},
	{"tags that differ by case", "tags: {Team: a, team: b}", "tags.team"},
	{"a tag like a default one", "tags: {project: a}", "tags.project"},
	{"a tag like Name", "tags: {NAME: a}", "tags.NAME"},
	{"an empty tag key", "tags: {'': a}", "tags."},
	{"two dots in a bucket", "backend: {type: s3, bucket: a..b}", "backend.bucket"},
	{"a bucket like an address", "backend: {type: s3, bucket: 10.0.0.1}", "backend.bucket"},
	{"a bucket with S3's prefix", "backend: {type: s3, bucket: xn--states}", "backend.bucket"},
	{"a bucket with S3's suffix", "backend: {type: s3, bucket: states-s3alias}", "backend.bucket"},
	{"a key with a slash at its end", "backend: {type: s3, bucket: states, key: a/}", "backend.key"},
	{"a namespace over Prefect Cloud", "cluster: {namespace: prefect.cloud}", "cluster.namespace"},
	{"a namespace over AWS", "cluster: {namespace: amazonaws.com}", "cluster.namespace"},
	{"a namespace over the registry", "cluster: {namespace: docker.io}", "cluster.namespace"},
	{"a namespace over the image's registry", "cluster: {namespace: example.com}\nworker: {image: 'reg.example.com/w:1', prefect_version: '3'}", "cluster.namespace"},
	{"a namespace over the API", "cluster: {namespace: example.com}\nprefect: {api_url: 'https://prefect.example.com/api'}", "cluster.namespace"},
	{"a namespace that resolvers answer themselves", "cluster: {namespace: flows.localhost}", "cluster.namespace"},
	{"a namespace over PyPI", "cluster: {namespace: pypi.org}\nworker: {extra_pip_packages: [s3fs]}", "cluster.namespace"},

	// Hosts that no task can reach.
	{"localhost with a dot", "prefect: {api_url: 'http://localhost.:4200/api'}", "prefect.api_url"},
	{"a name below localhost", "prefect: {api_url: 'http://x.localhost:4200/api'}", "prefect.api_url"},
	{"loopback as a number", "prefect: {api_url: 'http://2130706433:4200/api'}", "prefect.api_url"},
	{"loopback in short", "prefect: {api_url: 'http://127.1:4200/api'}", "prefect.api_url"},
	{"loopback in hexadecimal", "prefect: {api_url: 'http://0x7f.0.0.1:4200/api'}", "prefect.api_url"},
	{"loopback in octal", "prefect: {api_url: 'http://0177.0.0.1:4200/api'}", "prefect.api_url"},
	{"loopback in IPv6", "prefect: {api_url: 'http://[::1]:4200/api'}", "prefect.api_url"},
	{"loopback of IPv4 in IPv6", "prefect: {api_url: 'http://[::ffff:127.0.0.1]:4200/api'}", "prefect.api_url"},
	{"any address", "prefect: {api_url: 'http://0.0.0.0:4200/api'}", "prefect.api_url"},
	{"link-local address", "prefect: {api_url: 'http://169.254.1.1:4200/api'}", "prefect.api_url"},
	{"IPv6", "prefect: {api_url: 'http://[2001:db8::1]:4200/api'}", "prefect.api_url"},
	{"multicast", "prefect: {api_url: 'http://224.0.0.1:4200/api'}", "prefect.api_url"},
	{"an address that is none", "prefect: {api_url: 'http://10.0.0.256:4200/api'}", "prefect.api_url"},
	{"a name with an empty part", "prefect: {api_url: 'http://prefect..example.com/api'}", "prefect.api_url"},
	{"Docker's name of the host", "prefect: {api_url: 'http://host.docker.internal:4200/api'}", "prefect.api_url"},
	{"a name without a domain", "prefect: {api_url: 'http://prefect:4200/api'}", "prefect.api_url"},
	{"a name of another local network", "prefect: {api_url: 'http://prefect.local:4200/api'}", "prefect.api_url"},

	// Image, packages, authentication, and options that contradict each other.
	{"a version that the tag denies", "worker: {image: 'prefecthq/prefect:2-latest', prefect_version: '3'}", "worker.prefect_version"},
	{"prefect-aws that the image lacks", "worker: {prefect_aws_included: true}\nwork_pool: {type: ecs}", "worker.prefect_aws_included"},
	{"prefect-aws for a process pool", "worker: {image: 'example.com/w:1', prefect_version: '3', prefect_aws_included: true}", "worker.prefect_aws_included"},
	{"prefect-aws for a newer Prefect 3", "worker: {image: 'prefecthq/prefect:3.4.0-python3.12', extra_pip_packages: [prefect-aws==0.7.11]}", "worker.extra_pip_packages[0]"},
	{"prefect-client", "worker: {extra_pip_packages: [prefect_client]}", "worker.extra_pip_packages[0]"},
	{"an integration for the wrong Prefect", "worker: {extra_pip_packages: [prefect-gcp]}", "worker.extra_pip_packages[0]"},
	{"an integration for a newer Prefect", "worker: {image: 'prefecthq/prefect:3.4.0-python3.12', extra_pip_packages: ['prefect.docker>=0.6']}", "worker.extra_pip_packages[0]"},
	{"a version that pip cannot read", "worker: {extra_pip_packages: ['s3fs==abc']}", "worker.extra_pip_packages[0]"},
	{"a compatible version of one part", "worker: {extra_pip_packages: ['s3fs~=1']}", "worker.extra_pip_packages[0]"},
	{"a package twice", "worker: {extra_pip_packages: ['My.Pkg==1', 'my--pkg']}", "worker.extra_pip_packages[1]"},
	{"API's sample ids", "prefect: {account_id: 00000000-0000-0000-0000-000000000000}", "prefect.account_id"},
	{"basic authentication with Prefect Cloud", "prefect: {authentication: basic}\nworker: {image: 'prefecthq/prefect:3-latest'}", "prefect.authentication"},
	{"no authentication with Prefect Cloud's URL", "prefect: {authentication: none, api_url: 'https://api.prefect.cloud/api/accounts/11111111-1111-4111-8111-111111111111/workspaces/22222222-2222-4222-8222-222222222222'}", "prefect.authentication"},
	{"basic authentication with Prefect 2", "prefect: {authentication: basic, api_url: 'http://prefect.example.com/api'}", "prefect.authentication"},
	{"a secret without authentication", "prefect: {authentication: none, api_url: 'http://prefect.example.com/api'}\nsecret: {version: 2, name: s}", "secret.name secret.version"},
	{"authentication", "prefect: {authentication: oauth}", "prefect.authentication"},
	{"name of a secret that exists", "secret: {existing_arn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:k-AbCdEf', name: s, recovery_window_days: 7}", "secret.name secret.recovery_window_days"},
	{"task families of a process pool", "iam: {flow_task_families: [etl]}", "iam.flow_task_families"},
	{"a local run on AWS", "local_run: true", "local_run"},
	{"a state in another partition", "backend: {type: s3, bucket: states, region: cn-north-1}", "backend.region"},
	{"API's sample ids in its URL", "prefect: {api_url: 'https://api.prefect.cloud/api/accounts/00000000-0000-0000-0000-000000000000/workspaces/00000000-0000-0000-0000-000000000000'}", "prefect.api_url"},
	{"no limit in a process pool", "worker: {concurrency_limit: 0}", "worker.concurrency_limit"},
	{"a registry on this machine", "worker: {image: 'localhost:443/w:1', prefect_version: '3'}", "worker.image"},
	{"a registry at a closed port", "worker: {image: 'reg.example.com:5000/w:1', prefect_version: '3'}", "worker.image"},
	{"policies that are too large", "work_pool: {type: ecs}\niam: {flow_task_families: [" + many(60, "family-%d") + "]}", "iam.flow_task_families"},
	{"more secrets than a policy holds", "worker: {secrets: {" + many(120, "V%d: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:s%[1]d-AbCdEf'") + "}}", "worker.secrets"},
	{"a task definition that is too large", "worker: {environment: {A: " + strings.Repeat("x", 60000) + "}}", "worker.environment"},
}

func TestEnvironmentsThatFightOverNames(t *testing.T) {
	const a, b = `account_id: "111111111111"`, `account_id: "222222222222"`
	for _, test := range []struct {
		name, dev, prod string
		keys            string
	}{
		{"both with the defaults", "", "", "cluster.name logs.group iam.execution_role_name iam.task_role_name network.name secret.name"},
		{"a suffix", "", "name_suffix: -prod", ""},
		{"two accounts", a, b, ""},
		{"two accounts by their roles", a, "assume_role_arn: arn:aws:iam::222222222222:role/deployer", ""},
		{"one account", a, a, "cluster.name logs.group iam.execution_role_name iam.task_role_name network.name secret.name"},
		{"perhaps one account", a, "", "cluster.name logs.group iam.execution_role_name iam.task_role_name network.name secret.name"},
		{"two regions: only roles clash", "", "region: eu-west-1", "iam.execution_role_name iam.task_role_name network.name"},
		{"one state", "backend: {type: s3, bucket: states, key: k}\n" + a, "backend: {type: s3, bucket: states, key: k}\n" + b, "backend.key"},
		{"one cluster, log group and roles", "", "name_suffix: -b\nnetwork: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}}\ncluster: {name: prefect-cluster, existing: true, namespace: none}\nlogs: {group: /ecs/prefect-worker, existing: true}\n" +
			"iam: {existing: {execution_role: 'arn:aws:iam::123456789012:role/prefect-task-execution-role', task_role: 'arn:aws:iam::123456789012:role/prefect-task-role'}}", ""},
		{"one service of a cluster", "worker: {service_name: w}", "name_suffix: -b\ncluster: {name: prefect-cluster, existing: true}\nworker: {service_name: w}", "worker.service_name"},
		{"a server and a service of one cluster", "worker: {service_name: flows}", "name_suffix: -b\ncluster: {name: prefect-cluster, existing: true}\nserver: {enabled: true, name: flows}", "server.name"},
		{"one namespace of a VPC", "network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}}", "name_suffix: -b\nnetwork: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234568]}}", "cluster.namespace"},
		{"one pair of tags", "", "name_suffix: -b\ntags: {Environment: dev}", "tags.Environment"},
		{"a role of the other for flows", "", "name_suffix: -b\nwork_pool: {type: ecs}\niam: {flow_role_arns: ['arn:aws:iam::123456789012:role/x/Prefect-task-execution-role'], existing: {flow_task_role: 'arn:aws:iam::123456789012:role/prefect-ecs-flow-logs'}}", "iam.flow_role_arns[0] iam.existing.flow_task_role"},
		{"the role of the other's flows for flows", "", "name_suffix: -b\nwork_pool: {type: ecs}\niam: {existing: {flow_task_role: 'arn:aws:iam::123456789012:role/prefect-task-role'}}", ""},
		{"one event queue", "worker: {image: 'prefecthq/prefect:3-latest', service_name: w}\nwork_pool: {type: ecs}",
			"name_suffix: -prod\nworker: {image: 'prefecthq/prefect:3-latest', service_name: w}\nwork_pool: {type: ecs}", "worker.service_name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// WHEN two environments are read
			_, err := load(t, map[string]string{"dev.yaml": test.dev, "prod.yaml": test.prod})
			// THEN the names that can exist once are rejected, at the second environment
			var keys []string
			if problems, ok := err.(Problems); ok {
				for _, p := range problems {
					keys = append(keys, p.Key)
					if p.File != "config/environments/prod.yaml" {
						t.Errorf("the problem is shown in %s, want the second file", p.File)
					}
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(test.keys), keys, cmpopts.EquateEmpty(), cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("keys (- want, + got)\n%s", diff)
			}
		})
	}
}

// TestTheFixOfAName: the suffix is proposed only where it changes the name.
func TestTheFixOfAName(t *testing.T) {
	const vpc = "network: {existing: {vpc_id: vpc-01234567, subnet_ids: [subnet-01234567]}}\n"
	for _, test := range []struct{ dev, prod, want string }{
		{"", "", `set name_suffix: "-prod", or set cluster.name; `},
		{"", "name_suffix: -b\ncluster: {name: prefect-cluster}", "set cluster.name to another name; "},
		{vpc, vpc + "name_suffix: -prod", "set cluster.namespace to another name; "},
	} {
		_, err := load(t, map[string]string{"dev.yaml": test.dev, "prod.yaml": test.prod})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q is not in: %v", test.want, err)
		}
	}
}

var (
	removal = regexp.MustCompile(`^remove (it|the line|the key)\b`)
	example = regexp.MustCompile(`^(?:write(?: for example)?|write .*, for example|set it to|choose .*, for example) ("[^"]*"|\[[^\]]*\]|\{[^}]*\}|[^\s,;]+)`)
	// prose are words of fixes that are no values.
	prose = regexp.MustCompile(`^(one|the|an|its|ARNs|digits|fewer|true|a|it|keys|as|for|in)$`)
)

// TestFixes applies the fixes that are mechanical: what a fix proposes is not rejected in its turn.
func TestFixes(t *testing.T) {
	applied := 0
	for _, test := range rejected {
		_, err := load(t, map[string]string{"dev.yaml": test.yaml})
		problems, _ := err.(Problems)
		for _, p := range problems {
			var content any
			if err := yaml.Unmarshal([]byte(test.yaml), &content); err != nil || p.Key == "" {
				continue
			}
			var value any // nothing, to remove the key
			if m := example.FindStringSubmatch(p.Fix); m != nil && !prose.MatchString(m[1]) {
				if err := yaml.Unmarshal([]byte(m[1]), &value); err != nil {
					value = m[1]
				}
			} else if !removal.MatchString(p.Fix) {
				continue
			}
			path := strings.FieldsFunc(strings.ReplaceAll(p.Key, "[", ".["), func(r rune) bool { return r == '.' })
			text, err := yaml.Marshal(applyFix(content, path, value))
			if err != nil {
				t.Fatal(err)
			}
			applied++
			_, again := parse("dev.yaml", text)
			for _, q := range again {
				known := slices.ContainsFunc(problems, func(before Problem) bool {
					return before.Rule == q.Rule && before.Value == q.Value && before.Key != p.Key
				})
				if q.Key == p.Key && !known { // what stands there now may have been wrong before
					t.Errorf("%s: the fix of\n%s\nleads to\n%s", test.name, p, q)
				}
			}
		}
	}
	if applied < 150 {
		t.Errorf("only %d fixes were applied", applied)
	}
}

// applyFix returns content with another value at a path, or without what is there.
func applyFix(content any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if list, isList := content.([]any); isList {
		i, err := strconv.Atoi(strings.Trim(path[0], "[]"))
		if err != nil || i >= len(list) {
			return content
		}
		if list[i] = applyFix(list[i], path[1:], value); list[i] == nil {
			return slices.Delete(list, i, i+1)
		}
		return list
	}
	block, isBlock := content.(map[string]any)
	if !isBlock {
		block = map[string]any{}
	}
	if block[path[0]] = applyFix(block[path[0]], path[1:], value); block[path[0]] == nil {
		delete(block, path[0])
	}
	return block
}

// TestFilesInTheFolder: what is there is read, or rejected, or known to be nobody's
// environment.
func TestFilesInTheFolder(t *testing.T) {
	for _, test := range []struct{ name, rule string }{
		{".#dev.yaml", ""}, {"._dev.yaml", ""}, {".DS_Store", ""}, {".dev.yaml.swp", ""}, {"dev.yaml~", ""}, {"#dev.yaml#", ""},
		{"dev.yaml___jb_tmp___", ""}, {"README.md", ""}, {"dev.yaml.bak", ""}, {"dev.terraform.lock.hcl", ""}, {".gitkeep", ""},
		{"dev.yml", "an environment has one file, and dev.yaml beside it has the same name"},
		{"PROD.YAML", "an environment's file ends in .yaml or .yml, in lower case; this one would not be read"},
		{"prod.json", "an environment's file ends in .yaml or .yml, in lower case; this one would not be read"},
		{"prod", "an environment's file ends in .yaml or .yml, in lower case; this one would not be read"},
	} {
		_, err := load(t, map[string]string{"dev.yaml": "", test.name: "region: us-east-1"})
		problems, _ := err.(Problems)
		if test.rule == "" && err == nil {
			continue
		}
		if len(problems) != 1 || problems[0].File != Dir+"/"+test.name || problems[0].Rule != test.rule {
			t.Errorf("%s: got %v, want %q", test.name, err, test.rule)
		}
	}
	for name, make := range map[string]func(file string) error{
		"folders in this folder are not read":        func(file string) error { return os.Mkdir(file, 0o755) },
		"the link leads to nothing that can be read": func(file string) error { return os.Symlink("nowhere", file) },
		"an environment is a file":                   func(file string) error { return os.Symlink(os.DevNull, file) },
	} {
		if _, err := load(t, map[string]string{"dev.yaml": ""}); err != nil {
			t.Fatal(err)
		}
		if err := make(filepath.Join(Dir, "prod.yaml")); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Dir)
		if problems, _ := err.(Problems); len(problems) != 1 || problems[0].File != Dir+"/prod.yaml" || problems[0].Rule != name {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func TestALocalRunIsAcceptedOnlyThere(t *testing.T) {
	const yaml = "local_run: true\nprefect: {api_url: 'http://127.0.0.1:4200/api'}"
	if _, err := load(t, map[string]string{"dev.yaml": yaml}); err == nil {
		t.Error("the environment of a local run is accepted for AWS")
	}
	envs, err := LoadLocal(Dir)
	if err != nil || !envs[0].LocalRun {
		t.Errorf("the local run's own environment is rejected: %v", err)
	}
}

// FuzzLoad: whatever a file holds, it is accepted or rejected in words.
func FuzzLoad(f *testing.F) {
	for _, test := range rejected {
		f.Add([]byte(test.yaml))
	}
	for _, seed := range []string{"<<: *a", "a: &a [*a]", "network: &n {name: *n}", "? [a]\n: b", "worker: {environment: {? {a: b} : c}}", "!!binary x", "tags: !!set {a}", "%YAML 1.1\n---\nregion: 1", "region: !x y", "---\n...\n---"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, problems := parse("dev.yaml", data)
		for _, p := range problems {
			if p.Rule == "" || p.Fix == "" || p.File != "dev.yaml" {
				t.Errorf("a problem without words: %+v", p)
			}
		}
	})
}

func TestUIURL(t *testing.T) {
	for api, want := range map[string]string{
		"": "",
		CloudAPIURL + "11111111-1111-4111-8111-111111111111/workspaces/22222222-2222-4222-8222-222222222222": "https://app.prefect.cloud/account/11111111-1111-4111-8111-111111111111/workspace/22222222-2222-4222-8222-222222222222",
		"https://prefect.example.com:4200/tools/api":                                                         "https://prefect.example.com:4200/tools",
	} {
		if got := (Prefect{APIURL: api}).UIURL(); got != want {
			t.Errorf("%s: %s, want %s", api, got, want)
		}
	}
}

func TestEnvironmentNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"dev": true, "eu-prod-2": true, "Prod": false, "a_b": false, "-a": false, strings.Repeat("a", 31): false,
	} {
		_, err := load(t, map[string]string{name + ".yaml": ""})
		if (err == nil) != valid {
			t.Errorf("environment %q: valid = %t, want %t (%v)", name, err == nil, valid, err)
		}
	}
}

func TestLoadOne(t *testing.T) {
	_, err := load(t, map[string]string{"dev.yaml": "", "prod.yaml": "name_suffix: -prod"})
	if err != nil {
		t.Fatal(err)
	}
	if env, err := LoadOne(Dir, "prod"); err != nil || env.Name != "prod" {
		t.Errorf("LoadOne(prod) = %v, %v", env, err)
	}
	_, err = LoadOne(Dir, "test")
	const want = `there is no environment "test" in config/environments; there are: dev, prod. Add the file test.yaml, which may be empty`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestLoadWithoutEnvironments(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Load(Dir)
	if want := "the folder config/environments does not exist here; run the program in the project's folder"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Load(Dir)
	if want := "there is no environment in config/environments; add a file such as dev.yaml, which may be empty"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestNoCredentialInAMessage: whoever writes the key into the file by mistake must not
// find it in the CI log as well.
func TestNoCredentialInAMessage(t *testing.T) {
	const key = "pnu_0123456789abcdef0123456789abcdef"
	for _, yaml := range []string{
		"prefect: {api_key: " + key + "}",
		"prefect_api_key: " + key,
		"worker: {environment: {PREFECT_API_KEY: " + key + "}}",
		"worker: {environment: {X: " + key + "}}",
		"worker: {secrets: {X: " + key + "}}",
		"region: " + key,
		key + ": x",
		"https://u:" + key[4:] + "@h.example: x",
		"worker: {environment: {'postgresql+asyncpg://u:" + key[4:] + "@db': x}}",
		"worker: {environment: {DB_PASSWORD: [" + key[4:] + "]}}",
		"worker: {environment: {DB_PASSWORD: &a " + key[4:] + ", DB_PASSWORD: *a}}",
		"worker: {cpu: " + key + "}",
		"worker: {spot: 'https://h.example/?token=" + key[4:] + "'}",
		"prefect: {api_url: 'https://u:" + key[4:] + "@prefect.example.com/api'}",
		"prefect: {api_url: 'https://prefect.example.com/api?token=" + key[4:] + "'}",
		"worker: {image: 'https://u:" + key[4:] + "@reg.example.com/w:1'}",
		"worker: {extra_pip_packages: ['git+https://u:" + key[4:] + "@github.com/x/y']}",
		"worker: {secrets: {DB: " + key[4:] + "}}",
		"work_pool: {queues: [a, " + key + "]}",
		"logs: [group: " + key,
		"logs: {group: *" + key + "}",
	} {
		_, err := load(t, map[string]string{"dev.yaml": yaml})
		if err == nil {
			t.Errorf("%s: not rejected", strings.ReplaceAll(yaml, key, "KEY"))
		} else if strings.Contains(err.Error(), key[4:]) {
			t.Errorf("%s: the key is in the message", strings.ReplaceAll(yaml, key, "KEY"))
		}
	}
}

// TestASyntaxErrorHasItsLine: the library's scanner counts lines from 1, its parser from 0, and neither names the first.
func TestASyntaxErrorHasItsLine(t *testing.T) {
	for content, want := range map[string]int{
		"worker: {environment: {A: \"x\" : }\n":                  1,
		"name_suffix: -a\nworker: {environment: {A: \"x\" : }\n": 2,
		"name_suffix: -a\n\nlogs: ]\n":                           3,
		"name_suffix: -a\n- b\n":                                 2,
		"name_suffix: -a\nworker:\n  secrets:\n    A: arn:a::\n": 4,
	} {
		_, problems := parse("dev.yaml", []byte(content))
		if len(problems) != 1 || problems[0].Line != want {
			t.Errorf("%q: %v, want line %d", content, problems, want)
		}
	}
}
