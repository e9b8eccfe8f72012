// Package redact is the one place that decides what looks like a credential, and how
// something that a user wrote may be shown in a message, a report or a log.
package redact

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Hidden stands in a message for what must not be shown.
const Hidden = "(not shown)"

// Value returns the value of the key, option or variable called name as it may be shown: as it
// is, or Hidden if the name or the value itself says that it is a credential.
func Value(name, value string) string {
	if value != "" && (Named(name) || Credential(value)) {
		return Hidden
	}
	return value
}

// Text returns text, such as the error of a library that quotes its input, in which each
// credential that can be recognized is replaced by Hidden.
func Text(text string) string {
	// Before assignments: of an Authorization header these would hide the scheme and not what follows.
	text = token.ReplaceAllString(text, Hidden)
	text = address.ReplaceAllStringFunc(text, func(found string) string {
		if addressHoldsCredential(found) {
			return Hidden
		}
		return found
	})
	return assignment.ReplaceAllStringFunc(text, func(found string) string {
		m := assignment.FindStringSubmatch(found)
		if isCredential(m) {
			return m[1] + m[2] + Hidden
		}
		return m[1] + m[2] + Text(m[3]) // as in --var=password=x
	})
}

// Known returns text in which the given credentials are replaced by Hidden, whatever their form: as they are, quoted, in a URL,
// and in base64, as a header has them. Those of fewer than four characters are not: the text would become unreadable.
func Known(text string, credentials ...string) string {
	for _, value := range credentials {
		if len(value) < 4 {
			continue
		}
		quoted := strconv.Quote(value)
		for _, form := range []string{value, quoted[1 : len(quoted)-1], url.QueryEscape(value), url.PathEscape(value),
			base64.StdEncoding.EncodeToString([]byte(value)), base64.URLEncoding.EncodeToString([]byte(value))} {
			text = strings.ReplaceAll(text, form, Hidden)
		}
	}
	return text
}

// Writer passes on what is written to it, in whole lines, as a function shows it.
type Writer struct {
	mu   sync.Mutex
	to   io.Writer
	show func(text string) string
	line []byte
}

// NewWriter returns a Writer to another one. Flush writes what follows the last line break.
func NewWriter(to io.Writer, show func(text string) string) *Writer {
	return &Writer{to: to, show: show}
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = append(w.line, p...)
	if end := bytes.LastIndexByte(w.line, '\n') + 1; end > 0 {
		whole := string(w.line[:end])
		w.line = w.line[end:]
		if _, err := io.WriteString(w.to, w.show(whole)); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush writes an unfinished line.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := string(w.line)
	w.line = nil
	_, err := io.WriteString(w.to, w.show(rest))
	return err
}

// Credential reports whether value is a credential or holds one: a token of a known form, a URL
// with a password or token in it, an assignment such as password=x.
func Credential(value string) bool {
	if token.MatchString(value) || slices.ContainsFunc(address.FindAllString(value, -1), addressHoldsCredential) {
		return true
	}
	return slices.ContainsFunc(assignment.FindAllStringSubmatch(value, -1), func(m []string) bool {
		return isCredential(m) || Credential(m[3])
	})
}

// token are the forms in which services issue credentials, each documented by its service:
// Prefect, AWS, GitHub, GitLab, Slack, Stripe, Google, npm, PyPI, Hugging Face, OpenAI and
// Anthropic, JSON Web Tokens, PEM, and the values of an Authorization header.
var token = regexp.MustCompile(`\bpn[ub]_\w+` +
	`|\bA[KS]IA[A-Z0-9]{12,}` +
	`|\bgh[pousr]_\w{16,}|\bgithub_pat_\w+|\bglpat-[\w-]{16,}` +
	`|\bxox[abprs]-[\w-]{8,}|\b[sr]k_(?:live|test)_\w{8,}` +
	`|\bAIza[\w-]{30,}|\bnpm_\w{30,}|\bpypi-AgE[\w-]{16,}|\bhf_\w{30,}|\bsk-[\w-]{20,}` +
	`|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*` +
	`|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*` +
	`|(?i)\bauthorization\b\\?(?:["']?\s*[:=]|["']\s*,)\s*b?\\?["']?\w+ [^\s"'\\]+|\bbearer [\w+/=.~-]{20,}` +
	`|\bx-[\w-]*(?:key|token|secret)\b\\?(?:["']?\s*[:=]|["']\s*,)\s*b?\\?["']?[^\s"'\\]+`)

// address finds URLs of any scheme in text.
var address = regexp.MustCompile("(?i)\\b[a-z][a-z0-9+.-]*://[^\\s\"'`<>]+")

// assignment finds name=value in text, as in query strings and connection strings, with or
// without quotes and spaces, and "name": "value".
var assignment = regexp.MustCompile("([A-Za-z][\\w.-]*)(\\s*=\\s*[\"'`]?|[\"']\\s*:\\s*[\"']?)([^\\s;&,(\"'`]+)")

// port is what follows a host's colon where no password does.
var port = regexp.MustCompile(`^\d{1,5}/`)

// isCredential judges what assignment found.
func isCredential(found []string) bool {
	return Named(found[1]) && !placeholder.MatchString(found[3])
}

// placeholder is what stands for a value in a template or an explanation: {password},
// ${PASSWORD}, <password>, ...
var placeholder = regexp.MustCompile(`^(\$?\{|<|\.+$)`)

// addressHoldsCredential looks at the text and not only at what url.Parse makes of it: a
// password with a "/" or "%" in it makes a URL that cannot be parsed.
func addressHoldsCredential(address string) bool {
	scheme, rest, _ := strings.Cut(address, "://")
	scheme = strings.ToLower(scheme)
	beforeQuery, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndex(beforeQuery, "@"); at >= 0 {
		user, password, hasPassword := strings.Cut(beforeQuery[:at], ":")
		overHTTP := strings.HasSuffix(scheme, "http") || strings.HasSuffix(scheme, "https")
		switch {
		case strings.Contains(user, "/") || port.MatchString(password):
			// The @ belongs to the path, as in pkg@v1.
		case hasPassword && placeholder.MatchString(password):
		case hasPassword, overHTTP && user != "git":
			// What stands alone before the @ is a name for a database or ssh; over HTTP it is
			// mostly a token.
			return true
		}
	}
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' || r == '#' }) {
		name, value, _ := strings.Cut(pair, "=")
		if unescaped, err := url.QueryUnescape(name); err == nil {
			name = unescaped
		}
		if value != "" && !placeholder.MatchString(value) && (Named(name) || slices.Contains(signatures, strings.ToLower(name))) {
			return true
		}
	}
	return false
}

// signatures are the parameters of a URL that is itself the right to something: those that
// AWS, Azure and Google sign.
var signatures = []string{"sig", "signature", "x-amz-signature", "x-amz-credential", "x-goog-signature", "key"}

// Named reports whether a key, option or variable of this name holds a credential. What counts is
// how the name ends: DB_PASSWORD does, and SECRET_ARN, TOKEN_TTL, MAX_TOKENS or
// TOKENIZERS_PARALLELISM only mention one.
func Named(name string) bool {
	words := strings.FieldsFunc(strings.ToLower(camel.ReplaceAllString(name, "${1}_${2}")), func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9')
	})
	if len(words) == 0 {
		return false
	}
	last, before := words[len(words)-1], ""
	if len(words) > 1 {
		before = words[len(words)-2]
	}
	switch last {
	case "key":
		return slices.Contains(keys, before)
	case "string":
		return before == "auth" || before == "connection"
	case "id":
		return len(words) > 2 && before == "key" && words[len(words)-3] == "access" // of no use but with the key
	}
	return slices.Contains(secrets, last)
}

var (
	camel   = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	secrets = []string{
		"password", "passwd", "pwd", "pass", "passphrase", "pgpassword", "secret", "secrets", "token", "apikey", "apitoken",
		"accesskey", "secretkey", "privatekey", "authtoken", "accesstoken", "accountkey", "credential", "credentials", "authorization", "connstr",
	}
	// keys are the words before "key" that make it a credential: not a public, primary,
	// partition or cache key.
	keys = []string{
		"api", "access", "secret", "private", "encryption", "signing", "auth", "account", "storage", "master", "shared",
		"fernet", "ssh", "deploy", "license", "service", "admin", "ingest", "write", "subscription", "client",
	}
)
