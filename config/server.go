package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ServerPort is the TCP port of a Prefect server.
const ServerPort = 4200

// ServerUser is the user of a Prefect server with user and password.
const ServerUser = "prefect"

// ServerRecord is the name of the server in the cluster's namespace.
const ServerRecord = "prefect"

// useOwnServer makes the worker talk to the in-stack server, if there is one. An address
// that is given all the same is refused later, but for a local run, in which the server is on
// this machine.
func (e *Environment) useOwnServer() {
	if !e.Server.Enabled {
		return
	}
	if e.Prefect.APIURL == "" && e.Prefect.AccountID == "" && e.Prefect.WorkspaceID == "" {
		e.Prefect.APIURL = fmt.Sprintf("http://%s.%s:%d/api", ServerRecord, e.Cluster.Namespace, ServerPort)
	}
	if !e.given("prefect.authentication") {
		e.Prefect.Authentication = AuthBasic
		// Prefect 2 has no authentication at all.
		if runtime, err := e.Worker.Runtime(); err == nil && runtime.Major() < 3 {
			e.Prefect.Authentication = AuthNone
		}
	}
}

// OwnDatabase reports whether the stack makes the server's database.
func (s Server) OwnDatabase() bool { return s.Database.ExistingHost == "" }

// ExecutionRole returns the name of the role with which ECS starts the server.
func (s Server) ExecutionRole() string { return s.Name + "-execution-role" }

// TaskRole returns the name of the role of the server's container.
func (s Server) TaskRole() string { return s.Name + "-task-role" }

// DatabaseSecret returns the name of the secret with the password of the in-stack server's database.
func (s Server) DatabaseSecret() string { return s.Name + "-database" }

// GeneratedCredential reports whether the stack itself makes the credential of the Prefect API.
func (e *Environment) GeneratedCredential() bool {
	return e.Server.Enabled && e.Prefect.Authentication == AuthBasic && e.Secret.ExistingARN == ""
}

// firstBasic is the first release of Prefect whose server can run with user and password: it has had
// them since 3.1.8, and a health check that needs none since 3.1.13. Older ones would be without a
// password, or never healthy.
var firstBasic = mustConstraint(">=3.1.13")

// server refuses what a Prefect server in the stack cannot be or contradicts.
func (v *validator) server() {
	s, d := v.env.Server, v.env.Server.Database
	if !s.Enabled {
		v.rejectIgnored("there is no Prefect server in the stack", "set server.enabled to true, or remove it", sectionKeys("server.")...)
		return
	}
	if !v.env.LocalRun {
		v.rejectIgnored("the worker talks to the in-stack Prefect server, whose address is known", "remove it, or server.enabled", "prefect.api_url")
	}
	v.rejectIgnored("the worker talks to the in-stack Prefect server, not to Prefect Cloud", "remove it, or server.enabled", "prefect.account_id", "prefect.workspace_id")
	v.withoutSecret()
	if !v.env.Cluster.Namespaced() {
		v.reject("cluster.namespace", noNamespace, "the worker finds the in-stack Prefect server by its name in the namespace", "remove it", "server.enabled")
	}
	runtime, err := v.env.Worker.Runtime()
	switch a := v.env.Prefect.Authentication; {
	case err != nil: // reported already
	case runtime.Major() < 3 && a != AuthNone:
		v.reject("prefect.authentication", a, "the server of Prefect 2 has no authentication; the security group is the only guard", "remove it, or use an image with Prefect 3", "worker.image")
	case runtime.Major() >= 3 && a != AuthBasic:
		v.reject("prefect.authentication", a, "the in-stack server needs user and password", "remove prefect.authentication", "server.enabled")
	case a == AuthBasic && !firstBasic.Check(runtime.Prefect):
		v.reject("worker.image", v.env.Worker.Image, "the server of this release of Prefect 3 has no user and password, or no health check beside them", "use Prefect 3.1.13 or later", "server.enabled")
	}
	v.taskSizes("server", s.CPU, s.MemoryMiB)
	if s.OwnDatabase() {
		v.rejectIgnored("the stack makes the database and its password itself", "remove it, or set server.database.existing_host", "server.database.existing_secret")
		if n := v.env.Network.TaskSubnets(); n < 2 {
			key, fix := "network.private_subnet_cidrs", "give the network two private and two public subnets"
			if v.env.Network.Exists() {
				key, fix = "network.existing.subnet_ids", "name subnets in two zones"
			}
			v.reject(key, n, "RDS requires subnets in at least two availability zones", fix, "server.enabled")
		}
		for key, name := range map[string]string{"server.database.user": d.User, "server.database.name": d.Name} {
			if slices.Contains(reservedWords, name) || strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "rds") {
				v.reject(key, name, "RDS or PostgreSQL reserves this name", "choose another name")
			}
		}
		if oldClass.MatchString(d.InstanceClass) {
			v.reject("server.database.instance_class", d.InstanceClass, "RDS has no instances of this class for PostgreSQL "+d.EngineVersion, formats["instance-class"].fix)
		}
		return
	}
	v.rejectIgnored("the program makes no database where existing_host names one", "remove it, or existing_host", "server.database.instance_class", "server.database.engine_version",
		"server.database.storage", "server.database.multi_az", "server.database.backup_days", "server.database.deletion_protection", "server.database.final_snapshot")
	v.host("server.database.existing_host", d.ExistingHost, d.ExistingHost)
	_, secret, _ := strings.Cut(SecretARN(d.ExistingSecret), ":secret:")
	if own := s.DatabaseSecret() + "-"; strings.HasPrefix(secret, own) && len(secret) == len(own)+6 { // AWS adds six characters
		v.reject("server.database.existing_secret", d.ExistingSecret, "this is the secret of the in-stack server's database, and is destroyed with that when existing_host names another", "restore a backup as docs/own-server.md says, or store the password in a secret of another name", "server.database.existing_host")
	}
	if d.ExistingSecret == "" {
		v.reject("server.database.existing_secret", d.ExistingSecret, "the server needs the password of the database, from Secrets Manager", "store it there and write the secret's ARN", "server.database.existing_host")
	} else if IsParameter(d.ExistingSecret) {
		v.reject("server.database.existing_secret", d.ExistingSecret, "the password is read from Secrets Manager, not from the Parameter Store", "store it there and write the secret's ARN")
	}
}

// oldClass are classes that RDS does not have for PostgreSQL 15 and later ("Supported DB engines for DB
// instance classes" in the Amazon RDS User Guide).
var oldClass = regexp.MustCompile(`^db\.(m[1-4]|t[12]|r[34]|cr1|cg1|x1e?|x2iezn|z1d)\.`)

// reservedWords are names that the master user or the database cannot have: the reserved words of SQL
// in PostgreSQL ("SQL Key Words" in its documentation), the roles of RDS, and databases that exist.
var reservedWords = strings.Fields("admin rdsadmin user template0 template1 public none " +
	"all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column concurrently " +
	"constraint create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user default " +
	"deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in initially inner " +
	"intersect into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or " +
	"order outer overlaps placing primary references returning right select session_user similar some symmetric system_user table " +
	"tablesample then to trailing true union unique using variadic verbose when where window with")

// sectionKeys returns the keys of all options that begin so.
func sectionKeys(prefix string) []string {
	var keys []string
	for _, o := range options() {
		if strings.HasPrefix(o.Key, prefix) && o.Key != prefix+"enabled" {
			keys = append(keys, o.Key)
		}
	}
	return keys
}
