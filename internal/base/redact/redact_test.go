package redact

import (
	"strings"
	"testing"
)

func TestNamed(t *testing.T) {
	for name, want := range map[string]bool{
		"DB_PASSWORD": true, "PREFECT_API_AUTH_STRING": true, "PREFECT_API_KEY": true, "GITHUB_TOKEN": true,
		"AWS_SECRET_ACCESS_KEY": true, "AWS_ACCESS_KEY_ID": true, "AWS_SESSION_TOKEN": true, "CLIENT_SECRET": true,
		"prefect.api_key": true, "apiKey": true, "dbPassword": true, "PGPASSWORD": true, "AZURE_STORAGE_CONNECTION_STRING": true,
		"worker.environment.SSH_PRIVATE_KEY": true, "access-token": true, "password": true,

		"TOKENIZERS_PARALLELISM": false, "MAX_TOKENS": false, "SECRET_ARN": false, "PREFECT_API_KEY_VERSION": false,
		"PASSWORD_FILE": false, "TOKEN_TTL": false, "PARTITION_KEY": false, "CACHE_KEY": false, "PUBLIC_KEY": false,
		"prefect.account_id": false, "secret.name": false, "COMPASS": false, "AUTHOR": false, "": false, "ÜBER": false,
	} {
		if got := Named(name); got != want {
			t.Errorf("Named(%q) = %t", name, got)
		}
	}
}

const password = "hunter2"

// credentials are texts that hold the password, or a token.
var credentials = []string{
	"git+https://u:hunter2@github.com/x/y.git", "GIT+HTTPS://u:hunter2@github.com/x/y", "--index-url=https://u:hunter2@pypi.example/simple",
	"https://hunter2@github.com/x/y", "postgresql+asyncpg://u:hunter2@db/prefect", "redis://:hunter2@cache:6379/0",
	"https://h.example/x?token=hunter2", "https://h.example/x?a=b&X-Amz-Signature=hunter2", "https://h.example/?api%5Fkey=hunter2",
	"Server=db;User=u;Password=hunter2;", "jdbc:postgresql://db/x?user=u&password=hunter2", "https://u:hunt/hunter2@h.example/x",
	"--var=prefect_api_key=hunter2", "prefect_api_key = \"hunter2\"", `{"password": "hunter2"}`, "TOKEN=hunter2==", "a=b=c&x_token='hunter2'",
	"pnu_hunter2", "AKIAHUNTER2HUNTER2X",
	"Bearer hunter2hunter2hunter2", "Authorization: Basic aHVudGVyMg==hunter2",
	`{"Authorization": "Bearer hunter2"}`, "authorization=Basic hunter2", `{\"Authorization\": \"Bearer hunter2\"}`, "{b'authorization': b'Basic hunter2'}",
	"[('authorization', 'Bearer hunter2')]", "(b'Authorization', b'Basic hunter2')", "X-Api-Key: hunter2", "('x-vault-token', 'hunter2')",
}

func TestCredentials(t *testing.T) {
	for _, value := range credentials {
		if !Credential(value) || Value("HARMLESS", value) != Hidden {
			t.Errorf("%s is not recognized", value)
		}
		if got := Text("cannot read `" + value + "` here"); strings.Contains(got, password) || !strings.Contains(got, "here") {
			t.Errorf("%s is shown as %s", value, got)
		}
	}
}

// TestKnown: a credential that is known is hidden in each form in which a tool repeats it.
func TestKnown(t *testing.T) {
	const value = `admin:pa"ss w&rd`
	for _, form := range []string{value, `admin:pa\"ss w&rd`, "admin%3Apa%22ss+w%26rd", "YWRtaW46cGEic3MgdyZyZA=="} {
		if got := Known("line 1: "+form+" is wrong", value, "abc"); got != "line 1: "+Hidden+" is wrong" {
			t.Errorf("%s is shown as %s", form, got)
		}
	}
	if got := Known("abc is short", "abc"); got != "abc is short" {
		t.Errorf("%s", got)
	}
}

func TestWhatIsNone(t *testing.T) {
	for _, value := range []string{
		"", "true", "https://prefect.example.com:4200/api", "git+ssh://git@github.com/x/y.git", "git+https://git@github.com/x/y",
		"postgresql://reader@db/prefect", "https://h.example/x?page=2&tokens=3", "npm:pkg@1.2.3", "https://h.example/pkg@v1:2", "https://h.example:5000/pkg@v1",
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf", "s3fs==2025.3.0", "prefecthq/prefect:2-latest", "a=b",
		"costs ${amount}", "key: value", "basic auth is off", "authorization, as AWS has it", "x-request-id: 7", "Basic infrastructure-team-of-many", "export TF_VAR_prefect_api_key=...",
		"postgresql://{user}:{password}@{host}/db", "https://${USER}:${PASSWORD}@h.example/x", "https://h.example/?token={token}", "password=<yours>",
	} {
		if Credential(value) || Value("HARMLESS", value) != value || Text(value) != value {
			t.Errorf("%q is taken for a credential: %q", value, Text(value))
		}
	}
	if got := Text("in\n-----BEGIN RSA PRIVATE KEY-----\nhunter2\n"); got != "in\n"+Hidden {
		t.Errorf("a private key is shown as %q", got)
	}
	if got := Value("DB_PASSWORD", ""); got != "" {
		t.Errorf("an empty password is shown as %q", got)
	}
}
