package config

import "strings"

// Variable returns the environment variable in which Prefect's client finds its credential:
// PREFECT_API_KEY, PREFECT_API_AUTH_STRING, or "" where it needs none.
func (a Authentication) Variable() string {
	switch a {
	case AuthBasic:
		return "PREFECT_API_AUTH_STRING"
	case AuthNone:
		return ""
	default:
		return "PREFECT_API_KEY"
	}
}

// TerraformVariable returns the Terraform variable that carries the credential into the secret:
// prefect_api_key, prefect_api_auth_string, or "" where there is none.
func (a Authentication) TerraformVariable() string { return strings.ToLower(a.Variable()) }

// Noun returns the name of the credential in messages.
func (a Authentication) Noun() string {
	if a == AuthBasic {
		return "user and password"
	}
	return "API key"
}
