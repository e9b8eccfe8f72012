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
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/servicediscoveryservice"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/cluster"
	"prefect-worker-ecs/constructs/database"
	"prefect-worker-ecs/constructs/fargate"
	"prefect-worker-ecs/constructs/tf"
	"prefect-worker-ecs/internal/aws/iam"
)

// ContainerName is the name of the server's container.
const ContainerName = "prefect-server"

// Config says which server New builds.
type Config struct {
	Server config.Server

	// Image and Architecture are the worker's.
	Image        string
	Architecture config.Architecture

	// Account is where it runs.
	Account iam.Account

	// Cluster is where the service runs; its namespace holds the server's name.
	Cluster *cluster.Cluster

	// Clients is the security group of the worker and its flow tasks, which may connect.
	Clients block.SecurityGroup

	// APIPort is the port to which the worker connects.
	APIPort int

	// Database is where the server keeps its data.
	Database *database.Database

	// CredentialARN is the secret with user and password, CredentialFrom what the container's
	// list names, CredentialVersion its number. Empty: Prefect 2, which has none.
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
	Endpoints *block.SecurityGroup

	// Proxy are the environment variables of a proxy, and ProxyPort its port. Empty: none.
	Proxy     map[string]string
	ProxyPort int

	// DependsOn must exist before a task can start.
	DependsOn []cdktf.ITerraformDependable
}

// Server is what the outputs describe.
type Server struct {
	Service       tf.Addressed[ecsservice.EcsService]
	SecurityGroup block.SecurityGroup

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
	record := tf.WithAddress(servicediscoveryservice.NewServiceDiscoveryService(scope, jsii.String("name"), &servicediscoveryservice.ServiceDiscoveryServiceConfig{
		Name:        jsii.String(config.ServerRecord),
		Description: jsii.String("Prefect server"),
		DnsConfig: &servicediscoveryservice.ServiceDiscoveryServiceDnsConfig{
			NamespaceId:   &cfg.Cluster.NamespaceID,
			RoutingPolicy: jsii.String("MULTIVALUE"),
			DnsRecords:    []*servicediscoveryservice.ServiceDiscoveryServiceDnsConfigDnsRecords{{Type: jsii.String("A"), Ttl: jsii.Number(10)}},
		},
	}), "aws_service_discovery_service.server")

	// One task and never two: two schedulers would start runs twice, two servers that
	// migrate one database ruin it.
	service := fargate.NewService(cfg.Server.Name, &cfg.Cluster.ID, tf.ARN(task), 1,
		fargate.Placement{SubnetIDs: cfg.SubnetIDs, SecurityGroupIDs: []*string{group.ID()}, PublicIP: cfg.PublicIP}, fargate.DeploymentPercent{MinHealthy: 0, Max: 100})
	service.ServiceRegistries = &ecsservice.EcsServiceServiceRegistries{RegistryArn: tf.ARN(record)}
	// The way in for people: a port-forwarding session, see workerctl open.
	service.EnableExecuteCommand = jsii.Bool(true)
	dependsOn := slices.Concat(rules, policies, cfg.Database.Ready, cfg.DependsOn)
	service.DependsOn = &dependsOn
	s := &Server{SecurityGroup: group, Service: tf.WithAddress(ecsservice.NewEcsService(scope, jsii.String("service"), service), "aws_ecs_service.server")}
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
		Environment: fargate.Environment(variables),
		Secrets:     []fargate.Secret{{Name: "PGPASSWORD", ValueFrom: cfg.Database.ValueFrom}},
		// Not /api/ready, which says no while the database is away: the server outlives that.
		HealthCheck:      fargate.HTTPHealthCheck("http://127.0.0.1:"+strconv.Itoa(config.ServerPort)+"/api/health", startPeriodSeconds),
		StopTimeout:      30,
		LogConfiguration: fargate.AWSLogs(cfg.LogGroup, cfg.Account.Region, ContainerName),
		// ECS does not see that a secret's value changed; a changed label makes a new
		// revision, and the service replaces its task.
		DockerLabels: map[string]string{"prefect-database-password-version": strconv.Itoa(d.PasswordVersion)},
	}
	c.RepositoryCredentials = fargate.FromSecret(cfg.RegistryCredentials)
	if cfg.CredentialFrom != "" {
		c.Secrets = append(c.Secrets, fargate.Secret{Name: "PREFECT_SERVER_API_AUTH_STRING", ValueFrom: cfg.CredentialFrom})
		c.DockerLabels["prefect-api-key-version"] = strconv.Itoa(cfg.CredentialVersion)
	}
	return c
}

// newSecurityGroup lets in the worker and flow tasks, which share its group, and out what
// the server needs: HTTPS for the image and the APIs of AWS, and its database.
func newSecurityGroup(scope constructs.Construct, cfg Config) (block.SecurityGroup, []cdktf.ITerraformDependable) {
	group := block.NewSecurityGroup(scope, "security-group", config.ServerSecurityGroup, cfg.SecurityGroup, "Prefect server: in from the worker and its flows, HTTPS and the database out", cfg.VPCID)
	rules := []cdktf.ITerraformDependable{
		group.Ingress(scope, "server", "The worker and its flows", config.ServerPort, cfg.Clients),
		cfg.Clients.Egress(scope, "prefect_api", "Prefect server", cfg.APIPort, &group),
		group.Egress(scope, "server_https", "The image registry and the APIs of AWS", 443, nil),
	}
	if cfg.Endpoints != nil {
		rules = append(rules, cfg.Endpoints.Ingress(scope, "endpoints_server", "The Prefect server", 443, group))
	}
	theirs, port := cfg.Database.SecurityGroup, cfg.Server.Database.Port
	rules = append(rules, group.Egress(scope, "server_database", "Its database", port, theirs))
	// AWS takes a rule once: the one for an existing database may be that for the proxy.
	if proxy := cfg.ProxyPort; proxy != 0 && proxy != 443 && (theirs != nil || proxy != port) {
		rules = append(rules, group.Egress(scope, "server_proxy", "HTTP proxy", proxy, nil))
	}
	if theirs != nil {
		rules = append(rules, theirs.Ingress(scope, "database", "The Prefect server", port, group))
	}
	return group, rules
}
