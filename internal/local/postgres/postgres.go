// Package postgres runs PostgreSQL on this machine in place of RDS: on 127.0.0.1, with a
// password and over TLS only, as the stack's parameter group requires.
package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"prefect-worker-ecs/internal/base/proc"
)

// Find returns the folder with PostgreSQL's programs, or "" where it is not installed.
// Debian keeps them off the PATH.
func Find() string {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(folders)
	if program, err := exec.LookPath("postgres"); err == nil {
		folders = append([]string{filepath.Dir(program)}, folders...)
	}
	for _, dir := range folders {
		_, postgres := exec.LookPath(filepath.Join(dir, "postgres"))
		_, initdb := exec.LookPath(filepath.Join(dir, "initdb"))
		_, psql := exec.LookPath(filepath.Join(dir, "psql"))
		if errors.Join(postgres, initdb, psql) == nil {
			return dir
		}
	}
	return ""
}

// Server is a PostgreSQL that runs, or ran.
type Server struct {
	// Port is its TCP port on 127.0.0.1.
	Port int `json:"port"`
	// Process is its process.
	Process proc.Identity `json:"process"`
	// Dir is its own folder, which Stop removes.
	Dir string `json:"dir"`
	// Programs is the folder with PostgreSQL's programs.
	Programs string `json:"programs"`
}

// Start starts a new PostgreSQL without users. started is called with the process before it is
// ready.
func Start(ctx context.Context, started func(proc.Identity)) (_ *Server, err error) {
	s := &Server{Programs: Find()}
	if s.Programs == "" {
		return nil, errors.New("PostgreSQL is not installed")
	}
	// A path of a socket has 107 characters at most, and another user must get there.
	if s.Dir, err = os.MkdirTemp("/tmp", "prefect-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.Dir)
		}
	}()
	if s.Port, err = proc.FreePort(); err != nil {
		return nil, err
	}
	if err := certificate(s.Dir); err != nil {
		return nil, err
	}
	const rules = "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(s.Dir, "hba.conf"), []byte(rules), 0o600); err != nil {
		return nil, err
	}
	if err := s.chown(); err != nil {
		return nil, err
	}
	data := filepath.Join(s.Dir, "data")
	if out, err := s.command(ctx, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.Launch(ctx, started)
}

// Launch starts it again after Halt, with all that was in it. started is called as by Start.
func (s *Server) Launch(ctx context.Context, started func(proc.Identity)) (err error) {
	at := func(name string) string { return filepath.Join(s.Dir, name) }
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(s.Port), "unix_socket_directories": s.Dir,
		"ssl": "on", "ssl_cert_file": at("server.crt"), "ssl_key_file": at("server.key"), "hba_file": at("hba.conf"),
		"password_encryption": "scram-sha-256", "fsync": "off",
	}
	args := []string{"-D", at("data")}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	s.Process, err = proc.Launch(ctx, proc.Server{
		Name: "PostgreSQL", Cmd: s.command(context.WithoutCancel(ctx), "postgres", args...), Log: at("postgres.log"),
		Started: started, Timeout: time.Minute,
		Ready: func(ctx context.Context) bool { return s.sql(ctx, "postgres", "SELECT 1") == nil },
	})
	return err
}

// account returns the user that runs PostgreSQL, which refuses to be root. Nil: this one.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres: %w", err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

// command returns a call of one of PostgreSQL's programs.
func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Programs, program), args...)
	cmd.Dir = s.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + s.Dir}
	user, _ := account() // Start has found it
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	return cmd
}

// chown makes the user who runs PostgreSQL the owner of the folder.
func (s *Server) chown() error {
	user, err := account()
	if err != nil || user == nil {
		return err
	}
	return filepath.WalkDir(s.Dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(user.Uid), int(user.Gid))
	})
}

// sql runs statements as the superuser, through the socket. They go through standard input,
// because arguments are on the list of processes.
func (s *Server) sql(ctx context.Context, database, statements string) error {
	cmd := s.command(ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", s.Dir, "-p", strconv.Itoa(s.Port), "-U", "postgres", "-d", database)
	cmd.Stdin = strings.NewReader(statements + ";\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("PostgreSQL: %w: %s", err, out)
	}
	return nil
}

// Provide makes a user with a database of its own, or gives the user another password, as
// RDS does.
func (s *Server) Provide(ctx context.Context, name, password, database string) error {
	// The names have lower-case letters, digits and underscores only.
	if s.sql(ctx, database, `SELECT 1`) == nil {
		return s.sql(ctx, "postgres", fmt.Sprintf(`ALTER ROLE "%s" PASSWORD %s`, name, quote(password)))
	}
	return s.sql(ctx, "postgres", fmt.Sprintf("CREATE ROLE \"%s\" LOGIN PASSWORD %s;\nCREATE DATABASE \"%s\" OWNER \"%[1]s\"", name, quote(password), database))
}

// quote makes text a literal of SQL.
func quote(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

// Halt stops it and leaves all that is in it.
func (s *Server) Halt(ctx context.Context) error {
	return s.Process.Stop(ctx, syscall.SIGINT, 20*time.Second) // "fast shutdown"
}

// Stop ends it and removes all of it.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.Halt(ctx); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return os.RemoveAll(s.Dir)
}

// certificate makes a certificate for 127.0.0.1, self-signed.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: signed}, "server.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
