// Package server builds a Prefect server of one's own: a service of one task in the worker's
// cluster, found by a name in its namespace.
package server

import (
	"maps"
	"slices"
	"strconv"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/ecsservice"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/securitygroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/servicediscoveryservice"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/database"
	"prefect-worker-ecs/constructs/ecsworker"
	"prefect-worker-ecs/constructs/fargate"
	"prefect-worker-ecs/constructs/network"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// SecurityGroupName is the name of the server's security group in a VPC of the program's own,
// ContainerName that of its container.
const (
	SecurityGroupName = "prefect_server_sg"
	ContainerName     = "prefect-server"
)

// Config says which server New builds.
type Config struct {
	Server config.Server

	// Image and Architecture are the worker's.
	Image        string
	Architecture config.Architecture

	// Account is where it runs.
	Account iam.Account

	// Worker has the cluster, the namespace, and the security group of who may connect.
	Worker *ecsworker.ECSWorker

	// APIPort is the port to which the worker connects.
	APIPort int

	// Database is where the server keeps what it knows.
	Database *database.Database

	// CredentialARN is the secret with user and password, CredentialFrom what the container's
	// list names, CredentialVersion its number. Empty: Prefect 2, which knows none.
	CredentialARN, CredentialFrom string
	CredentialVersion             int

	// KMSKeyARN is the customer key of both secrets. Empty: none.
	KMSKeyARN string

	// RegistryCredentials is the secret with the credentials of the image's registry, and
	// RegistryKMSKeyARNs are the customer keys that may encrypt it. Empty: none.
	RegistryCredentials string
	RegistryKMSKeyARNs  []string

	// RolePath is the path of the roles, and PermissionsBoundaryARN is put on them. Empty: none.
	RolePath, PermissionsBoundaryARN string

	// LogGroup is the name of the log group, in which the server has streams of its own.
	LogGroup string

	// VPCID and SubnetIDs are where the task runs.
	VPCID     string
	SubnetIDs []string

	// PublicIP gives the task a public address, which it needs in public subnets.
	PublicIP bool

	// SecurityGroup is the name of the server's group.
	SecurityGroup string

	// Endpoints guards the interface endpoints of the VPC. Nil: the program made none.
	Endpoints *tf.Fixed[securitygroup.SecurityGroup]

	// Proxy are the environment variables of a proxy, and ProxyPort its port. Empty: none.
	Proxy     map[string]string
	ProxyPort int

	// DependsOn must exist before a task can start.
	DependsOn []cdktf.ITerraformDependable
}

// Server is what the outputs speak of.
type Server struct {
	Service       tf.Fixed[ecsservice.EcsService]
	SecurityGroup tf.Fixed[securitygroup.SecurityGroup]

	// Ready must be there before the worker starts.
	Ready []cdktf.ITerraformDependable
}

// New builds the server.
func New(scope constructs.Construct, id string, cfg Config) *Server {
	scope = constructs.NewConstruct(scope, &id)
	group, rules := newSecurityGroup(scope, cfg)
	execution, taskRole, policies := newRoles(scope, cfg)
	task := fargate.NewTaskDefinition(scope, fargate.Task{
		Address:          "server",
		Family:           cfg.Server.Name,
		CPU:              cfg.Server.CPU,
		MemoryMiB:        cfg.Server.MemoryMiB,
		Architecture:     cfg.Architecture,
		ExecutionRoleARN: execution,
		TaskRoleARN:      taskRole,
		Container:        newContainer(cfg),
	})
	record := tf.Fix(servicediscoveryservice.NewServiceDiscoveryService(scope, jsii.String("name"), &servicediscoveryservice.ServiceDiscoveryServiceConfig{
		Name:        jsii.String(config.ServerRecord),
		Description: jsii.String("Prefect server"),
		DnsConfig: &servicediscoveryservice.ServiceDiscoveryServiceDnsConfig{
			NamespaceId:   &cfg.Worker.NamespaceID,
			RoutingPolicy: jsii.String("MULTIVALUE"),
			DnsRecords:    []*servicediscoveryservice.ServiceDiscoveryServiceDnsConfigDnsRecords{{Type: jsii.String("A"), Ttl: jsii.Number(10)}},
		},
	}), "aws_service_discovery_service.server")

	// One task and never two: two schedulers would start runs twice, two servers that
	// migrate one database ruin it.
	service := fargate.NewService(cfg.Server.Name, &cfg.Worker.Cluster.ID, tf.ARN(task), 1,
		fargate.Placement{SubnetIDs: cfg.SubnetIDs, SecurityGroupIDs: []*string{tf.ID(group)}, PublicIP: cfg.PublicIP}, fargate.Rollout{Least: 0, Most: 100})
	service.ServiceRegistries = &ecsservice.EcsServiceServiceRegistries{RegistryArn: tf.ARN(record)}
	// The way in for people: a port-forwarding session, see workerctl open.
	service.EnableExecuteCommand = jsii.Bool(true)
	dependsOn := slices.Concat(rules, policies, cfg.Database.Ready, cfg.DependsOn)
	service.DependsOn = &dependsOn
	s := &Server{SecurityGroup: group, Service: tf.Fix(ecsservice.NewEcsService(scope, jsii.String("service"), service), "aws_ecs_service.server")}
	s.Ready = slices.Concat(rules, []cdktf.ITerraformDependable{s.Service.Element})
	return s
}

// startPeriodSeconds is the most that ECS allows: a server first brings its database to the
// form of its release.
const startPeriodSeconds = 300

func newContainer(cfg Config) fargate.Container {
	d := cfg.Server.Database
	variables := map[string]string{
		"PREFECT_API_DATABASE_CONNECTION_URL": cfg.Database.URL(d),
		"PREFECT_SERVER_API_HOST":             "0.0.0.0",
		"PREFECT_SERVER_API_PORT":             strconv.Itoa(config.ServerPort),
		// Relative, so that the pages work at whatever address a person reaches them.
		"PREFECT_UI_API_URL":               "/api",
		"PREFECT_SERVER_ANALYTICS_ENABLED": "false",
		"PREFECT_CLI_WRAP_LINES":           "false",
		"PREFECT_LOGGING_COLORS":           "false",
		"DO_NOT_TRACK":                     "1",
	}
	maps.Copy(variables, cfg.Proxy)
	c := fargate.Container{
		Name:        ContainerName,
		Image:       cfg.Image,
		Essential:   true,
		Command:     []string{"prefect", "server", "start"},
		Environment: fargate.Variables(variables),
		Secrets:     []fargate.Secret{{Name: "PGPASSWORD", ValueFrom: cfg.Database.ValueFrom}},
		// Not /api/ready, which says no while the database is away: the server outlives that.
		HealthCheck:      fargate.Get("http://127.0.0.1:"+strconv.Itoa(config.ServerPort)+"/api/health", startPeriodSeconds),
		StopTimeout:      30,
		LogConfiguration: fargate.CloudWatch(cfg.LogGroup, cfg.Account.Region, ContainerName),
		// ECS does not see that a secret's value changed; a changed label makes a new
		// revision, and the service replaces its task.
		DockerLabels: map[string]string{"prefect-database-password-version": strconv.Itoa(d.PasswordVersion)},
	}
	c.RepositoryCredentials = fargate.Registry(cfg.RegistryCredentials)
	if cfg.CredentialFrom != "" {
		c.Secrets = append(c.Secrets, fargate.Secret{Name: "PREFECT_SERVER_API_AUTH_STRING", ValueFrom: cfg.CredentialFrom})
		c.DockerLabels["prefect-api-key-version"] = strconv.Itoa(cfg.CredentialVersion)
	}
	return c
}

// newSecurityGroup lets in the worker and flow tasks, which share its group, and out what
// the server needs: HTTPS for the image and the APIs of AWS, and its database.
func newSecurityGroup(scope constructs.Construct, cfg Config) (tf.Fixed[securitygroup.SecurityGroup], []cdktf.ITerraformDependable) {
	group := tf.Fix(securitygroup.NewSecurityGroup(scope, jsii.String("security-group"), &securitygroup.SecurityGroupConfig{
		Name:        &cfg.SecurityGroup,
		Description: jsii.String("Prefect server: in from the worker and its flows, HTTPS and the database out"),
		VpcId:       &cfg.VPCID,
		Tags:        tf.NameTag(cfg.SecurityGroup),
	}), "aws_security_group."+SecurityGroupName)
	d := cfg.Server.Database
	own := tf.Optional(cfg.SecurityGroup)
	rules := []cdktf.ITerraformDependable{
		fargate.Ingress(scope, group, "server", "The worker and its flows", config.ServerPort, cfg.Worker.SecurityGroup, own),
		fargate.Egress(scope, cfg.Worker.SecurityGroup, "prefect_api", "Prefect server", cfg.APIPort, tf.ID(group), &cfg.Worker.SecurityGroupName),
		fargate.Egress(scope, group, "server_https", "The image registry and the APIs of AWS", 443, nil, own),
	}
	if port := cfg.ProxyPort; port != 0 && port != 443 {
		rules = append(rules, fargate.Egress(scope, group, "server_proxy", "HTTP proxy", port, nil, own))
	}
	if endpoints := cfg.Endpoints; endpoints != nil {
		rules = append(rules, fargate.Ingress(scope, *endpoints, "endpoints_server", "The Prefect server", 443, group, jsii.String(network.EndpointsSecurityGroup)))
	}
	if theirs := cfg.Database.SecurityGroup; theirs != nil {
		return group, append(rules,
			fargate.Egress(scope, group, "server_database", "Its database", d.Port, tf.ID(*theirs), own),
			fargate.Ingress(scope, *theirs, "database", "The Prefect server", d.Port, group, &cfg.Database.SecurityGroupName))
	}
	return group, append(rules, fargate.Egress(scope, group, "server_database", "Its database", d.Port, nil, own))
}
