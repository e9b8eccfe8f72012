package stacks

import (
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/database"
	"prefect-worker-ecs/constructs/ecsworker"
	"prefect-worker-ecs/constructs/network"
	"prefect-worker-ecs/constructs/secrets"
	"prefect-worker-ecs/constructs/server"
	"prefect-worker-ecs/internal/aws/iam"
)

// ownServer is a Prefect server of the stack itself.
type ownServer struct {
	server   *server.Server
	database *database.Database
}

// newServer returns what builds a Prefect server beside the worker, in its cluster: nil if
// the API is elsewhere.
func newServer(stack cdktf.TerraformStack, env *config.Environment, account iam.Account, net *network.Network, subnets []string, credential *secrets.Secrets, logGroup string) (*ownServer, func(*ecsworker.ECSWorker) []cdktf.ITerraformDependable) {
	if !env.Server.Enabled {
		return nil, nil
	}
	own := &ownServer{}
	return own, func(worker *ecsworker.ECSWorker) []cdktf.ITerraformDependable {
		own.database = database.New(stack, "database", database.Config{
			Server:             env.Server,
			RecoveryWindowDays: env.Secret.RecoveryWindowDays,
			KMSKeyARN:          env.Secret.KMSKeyARN,
			VPCID:              net.VPCID,
			SubnetIDs:          net.PrivateSubnetIDs,
			SecurityGroup:      env.SecurityGroup(database.SecurityGroupName),
			Protect:            env.Protect,
		})
		own.server = server.New(stack, "server", server.Config{
			Server:                 env.Server,
			Image:                  env.Worker.Image,
			Architecture:           env.Worker.Architecture,
			Account:                account,
			Worker:                 worker,
			APIPort:                config.APIPort(env.Prefect.APIURL),
			Database:               own.database,
			CredentialARN:          credential.ARN,
			CredentialFrom:         credential.ValueFrom,
			CredentialVersion:      env.Secret.Version,
			KMSKeyARN:              env.Secret.KMSKeyARN,
			RegistryCredentials:    env.Worker.RegistryCredentials,
			RegistryKMSKeyARNs:     env.Worker.KMSKeyARNs,
			RolePath:               env.IAM.Path,
			PermissionsBoundaryARN: env.IAM.PermissionsBoundaryARN,
			LogGroup:               logGroup,
			VPCID:                  net.VPCID,
			SubnetIDs:              subnets,
			PublicIP:               env.Network.PublicIP(),
			SecurityGroup:          env.SecurityGroup(server.SecurityGroupName),
			Endpoints:              net.Endpoints,
			Proxy:                  env.ProxyVariables(regionReference),
			ProxyPort:              env.Network.ProxyPort(),
			DependsOn:              append(net.Routes[:len(net.Routes):len(net.Routes)], credential.Ready...),
		})
		return own.server.Ready
	}
}
