package stacks

import (
	"slices"

	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/cluster"
	"prefect-worker-ecs/constructs/database"
	"prefect-worker-ecs/constructs/network"
	"prefect-worker-ecs/constructs/secrets"
	"prefect-worker-ecs/constructs/server"
	"prefect-worker-ecs/internal/aws/iam"
)

// ownServer is the in-stack Prefect server with its database.
type ownServer struct {
	server   *server.Server
	database *database.Database
}

// ready returns the resources that must exist before the worker starts, none without an in-stack server.
func (o *ownServer) ready() []cdktf.ITerraformDependable {
	if o == nil {
		return nil
	}
	return o.server.Ready
}

// serverConfig is what the server shares with the worker.
type serverConfig struct {
	account    iam.Account
	network    *network.Network
	subnets    []string
	credential *secrets.Secrets
	logGroup   string
	cluster    *cluster.Cluster
	// clients is the security group of the worker and its flow tasks.
	clients block.SecurityGroup
}

// newServer builds the in-stack Prefect server, nil if the API is elsewhere.
func newServer(stack cdktf.TerraformStack, env *config.Environment, cfg serverConfig) *ownServer {
	if !env.Server.Enabled {
		return nil
	}
	db := database.New(stack, "database", database.Config{
		Server:             env.Server,
		RecoveryWindowDays: env.Secret.RecoveryWindowDays,
		KMSKeyARN:          env.Secret.KMSKeyARN,
		VPCID:              cfg.network.VPCID,
		SubnetIDs:          cfg.network.PrivateSubnetIDs,
		SecurityGroup:      env.SecurityGroup(config.DatabaseSecurityGroup),
		Protect:            env.Protect,
	})
	return &ownServer{database: db, server: server.New(stack, "server", server.Config{
		Server:                 env.Server,
		Image:                  env.Worker.Image,
		Architecture:           env.Worker.Architecture,
		Account:                cfg.account,
		Cluster:                cfg.cluster,
		Clients:                cfg.clients,
		APIPort:                config.APIPort(env.Prefect.APIURL),
		Database:               db,
		CredentialARN:          cfg.credential.ARN,
		CredentialFrom:         cfg.credential.ValueFrom,
		CredentialVersion:      env.Secret.Version,
		KMSKeyARN:              env.Secret.KMSKeyARN,
		RegistryCredentials:    env.Worker.RegistryCredentials,
		RegistryKMSKeyARNs:     env.Worker.KMSKeyARNs,
		RolePath:               env.IAM.Path,
		PermissionsBoundaryARN: env.IAM.PermissionsBoundaryARN,
		LogGroup:               cfg.logGroup,
		VPCID:                  cfg.network.VPCID,
		SubnetIDs:              cfg.subnets,
		PublicIP:               env.Network.PublicIP(),
		SecurityGroup:          env.SecurityGroup(config.ServerSecurityGroup),
		Endpoints:              cfg.network.Endpoints,
		Proxy:                  env.ProxyVariables(regionReference),
		ProxyPort:              env.Network.ProxyPort(),
		DependsOn:              slices.Concat(cfg.network.Routes, cfg.credential.Ready),
	})}
}
