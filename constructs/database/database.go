// Package database builds the PostgreSQL in which a Prefect server keeps its data, or
// references an existing one.
package database

import (
	"strconv"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dbinstance"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dbparametergroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dbsubnetgroup"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/secretsmanagersecret"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/secretsmanagersecretversion"
	"github.com/hashicorp/terraform-cdk-go/cdktf"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/block"
	"prefect-worker-ecs/constructs/tf"
)

// Config says which database New builds.
type Config struct {
	Server config.Server

	// RecoveryWindowDays is how long AWS keeps the deleted secret.
	RecoveryWindowDays int

	// KMSKeyARN is the customer key that encrypts the secret. Empty: the key that AWS manages.
	KMSKeyARN string

	// VPCID and SubnetIDs are where it is, in two availability zones at least.
	VPCID     string
	SubnetIDs []string

	// SecurityGroup is the name of the database's group.
	SecurityGroup string

	// Protect keeps database and secret from being destroyed.
	Protect bool
}

// Database is what the rest of the stack needs of it.
type Database struct {
	// Host is its address.
	Host string

	// SecretARN is the secret with the password, ValueFrom what a container's secrets list
	// names.
	SecretARN, ValueFrom string

	// SecurityGroup guards the in-stack server's database, and SecurityGroupName is its name. Nil: the
	// database exists elsewhere.
	SecurityGroup *block.SecurityGroup

	// Ready must exist before the server can start.
	Ready []cdktf.ITerraformDependable
}

// New builds the database, unless one exists.
func New(scope constructs.Construct, id string, cfg Config) *Database {
	s, d := cfg.Server, cfg.Server.Database
	if !s.OwnDatabase() {
		return &Database{Host: d.ExistingHost, SecretARN: config.SecretARN(d.ExistingSecret), ValueFrom: d.ExistingSecret}
	}
	scope = constructs.NewConstruct(scope, &id)
	secret := tf.WithAddress(secretsmanagersecret.NewSecretsmanagerSecret(scope, jsii.String("secret"), &secretsmanagersecret.SecretsmanagerSecretConfig{
		Name:                 jsii.String(s.DatabaseSecret()),
		Description:          jsii.String("Password of the Prefect server's database"),
		KmsKeyId:             tf.Optional(cfg.KMSKeyARN),
		RecoveryWindowInDays: jsii.Number(cfg.RecoveryWindowDays),
		Lifecycle:            tf.Protected(cfg.Protect),
	}), "aws_secretsmanager_secret.database")
	// RDS takes all characters but these.
	made := tf.Ephemeral(scope, "aws_secretsmanager_random_password", "database", map[string]any{
		"password_length": 40, "exclude_characters": `/@" `,
	})
	version := tf.WithAddress(secretsmanagersecretversion.NewSecretsmanagerSecretVersion(scope, jsii.String("secret-version"), &secretsmanagersecretversion.SecretsmanagerSecretVersionConfig{
		SecretId:              tf.ID(secret),
		SecretStringWo:        jsii.String("${" + made + ".random_password}"),
		SecretStringWoVersion: jsii.Number(d.PasswordVersion),
	}), "aws_secretsmanager_secret_version.database")
	// A value is regenerated at each plan and apply. The database gets the one that is in the
	// secret, so that both agree after an apply which failed between the two as well.
	stored := tf.Ephemeral(scope, "aws_secretsmanager_secret_version", "database", map[string]any{
		"secret_id": *tf.ID(secret), "version_id": "${" + version.Address + ".version_id}",
	})

	group := block.NewSecurityGroup(scope, "security-group", config.DatabaseSecurityGroup, cfg.SecurityGroup, "Database of the Prefect server: in from the server, nothing out", cfg.VPCID)
	subnets := tf.WithAddress(dbsubnetgroup.NewDbSubnetGroup(scope, jsii.String("subnets"), &dbsubnetgroup.DbSubnetGroupConfig{
		Name:        &s.Name,
		Description: jsii.String("Private subnets of the Prefect server's database"),
		SubnetIds:   jsii.Strings(cfg.SubnetIDs...),
	}), "aws_db_subnet_group.server")
	parameters := tf.WithAddress(dbparametergroup.NewDbParameterGroup(scope, jsii.String("parameters"), &dbparametergroup.DbParameterGroupConfig{
		// The version is in the name, because another one needs another group, and the
		// database uses the old one until it has the new one.
		Name:        jsii.String(s.Name + "-postgres" + d.EngineVersion),
		Description: jsii.String("Database of the Prefect server: TLS only"),
		Family:      jsii.String("postgres" + d.EngineVersion),
		Parameter:   []*dbparametergroup.DbParameterGroupParameter{{Name: jsii.String("rds.force_ssl"), Value: jsii.String("1")}},
		Lifecycle:   &cdktf.TerraformResourceLifecycle{CreateBeforeDestroy: jsii.Bool(true)},
	}), "aws_db_parameter_group.server")

	instance := &dbinstance.DbInstanceConfig{
		Identifier:               &s.Name,
		Engine:                   jsii.String("postgres"),
		EngineVersion:            &d.EngineVersion,
		AllowMajorVersionUpgrade: jsii.Bool(true), // who writes another version means it
		AutoMinorVersionUpgrade:  jsii.Bool(true),
		InstanceClass:            &d.InstanceClass,
		AllocatedStorage:         jsii.Number(d.StorageGiB),
		MaxAllocatedStorage:      jsii.Number(5 * d.StorageGiB),
		StorageType:              jsii.String("gp3"),
		StorageEncrypted:         jsii.Bool(true),
		DbName:                   &d.Name,
		Username:                 &d.User,
		PasswordWo:               jsii.String("${" + stored + ".secret_string}"),
		PasswordWoVersion:        jsii.Number(d.PasswordVersion),
		Port:                     jsii.Number(d.Port),
		DbSubnetGroupName:        tf.Name(subnets),
		ParameterGroupName:       tf.Name(parameters),
		VpcSecurityGroupIds:      &[]*string{group.ID()},
		PubliclyAccessible:       jsii.Bool(false),
		MultiAz:                  jsii.Bool(d.MultiAZ),
		BackupRetentionPeriod:    jsii.Number(d.BackupDays),
		CopyTagsToSnapshot:       jsii.Bool(true),
		DeletionProtection:       jsii.Bool(d.DeletionProtection),
		SkipFinalSnapshot:        jsii.Bool(!d.FinalSnapshot),
		// The password must be the new one when the server restarts with it.
		ApplyImmediately: jsii.Bool(true),
		Lifecycle:        tf.Protected(cfg.Protect),
	}
	if d.FinalSnapshot {
		// A name can be taken once. The group's id is another one in each deployment.
		instance.FinalSnapshotIdentifier = jsii.String(s.Name + "-final-${trimprefix(" + group.Address + `.id, "sg-")}`)
	}
	database := tf.WithAddress(dbinstance.NewDbInstance(scope, jsii.String("instance"), instance), "aws_db_instance.server")
	return &Database{
		Host:          "${" + database.Address + ".address}",
		SecretARN:     *tf.ARN(secret),
		ValueFrom:     *tf.ARN(secret),
		SecurityGroup: &group,
		Ready:         []cdktf.ITerraformDependable{version.Element, database.Element},
	}
}

// URL returns the connection URL, without the password: it reaches the server as PGPASSWORD, so
// that it may hold any character. A connection without TLS is not made.
func (d *Database) URL(cfg config.Database) string {
	return "postgresql+asyncpg://" + cfg.User + "@" + d.Host + ":" + strconv.Itoa(cfg.Port) + "/" + cfg.Name + "?ssl=require"
}
