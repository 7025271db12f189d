package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"baton/config"
)

const confidential = "swordfish-swordfish"

// secretConfig has a secret wherever there can be one.
func secretConfig() config.Config {
	cfg := pair()
	cfg.Failover.Secret, cfg.Failover.Register.Token, cfg.Arbiter.Token = confidential, confidential, confidential
	cfg.Failover.Register.URLs = []config.URL{"nats://user:" + confidential + "@127.0.0.1", "nats://user:" + confidential + "@127.0.0.1:%"}
	cfg.Network.Secret, cfg.Network.Token, cfg.Network.URLs = confidential, confidential, cfg.Failover.Register.URLs
	return cfg
}

func TestSecretsDoNotShowWhenPrinted(t *testing.T) {
	t.Parallel()
	cfg := secretConfig()
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), fmt.Sprintf("%q", cfg.Failover.Secret), fmt.Sprintf("%s", cfg.Arbiter), string(encoded),
	} {
		if strings.Contains(text, confidential) || !strings.Contains(text, "(hidden)") {
			t.Errorf("a secret shows, or nothing in its place: %s", text)
		}
	}
	if got := fmt.Sprint(cfg.Failover.Register.URLs[0]); got != "nats://user:xxxxx@127.0.0.1" {
		t.Errorf("the URL is shown as %s", got)
	}
	if got := fmt.Sprint(config.Secret("")); got != "" {
		t.Errorf("no secret is shown as %s", got)
	}
}

func TestSecretsDoNotShowInDescribe(t *testing.T) {
	t.Parallel()
	path := file(t, "failover: {secret: "+confidential+", register: {urls: ['nats://user:"+confidential+"@127.0.0.1']}}\n")
	got, err := config.Describe(config.Sources{File: path, Env: []string{"BATON_ARBITER_TOKEN=" + confidential}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, confidential) {
		t.Errorf("a secret shows:\n%s", got)
	}
	for _, want := range []string{
		`secret: "(hidden)" # from ` + path, `token: "(hidden)" # from BATON_ARBITER_TOKEN`, `urls: ["nats://user:xxxxx@127.0.0.1"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
}

// What is wrong is said without what was given.
func TestSecretsDoNotShowInProblems(t *testing.T) {
	t.Parallel()
	for _, env := range []string{
		"BATON_FAILOVER_REGISTER_URLS=nats://user:" + confidential + "@127.0.0.1",
		"BATON_FAILOVER_REGISTER_URLS=[nats://user:" + confidential + "@127.0.0.1",
		"BATON_FAILOVER_REGISTER_URLS=[http://user:" + confidential + "@127.0.0.1]",
		"BATON_FAILOVER_REGISTER_URLS=[nats://user:" + confidential + "@127.0.0.1:port]",
		"BATON_FAILOVER_REGISTER_URLS=[{" + confidential + ": 1}]",
		"BATON_FAILOVER_REGISTER_URLS=[[" + confidential + "]]",
	} {
		_, err := config.Load(config.Sources{Env: append([]string{"BATON_FAILOVER_MODE=pair"}, env)})
		if err == nil || !strings.Contains(err.Error(), "failover.register.urls") || strings.Contains(err.Error(), confidential) {
			t.Errorf("%s: got %v", env, err)
		}
	}
	path := file(t, "failover: {secret: ["+confidential+"]}\narbiter: {token: {"+confidential+": 1}}\n")
	_, err := config.Load(config.Sources{File: path})
	if err == nil || strings.Contains(err.Error(), confidential) && !strings.Contains(err.Error(), "arbiter.token."+confidential) {
		t.Errorf("got %v", err)
	}
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tc := range []struct {
		name, text, want string // want: of the error
		mode             os.FileMode
	}{
		{"good", " " + confidential + " \n", "", 0o600},
		{"read-only", confidential, "", 0o400},
		{"group", confidential, "", 0o640},
		{"world", confidential, "chmod 600", 0o604},
		{"group-write", confidential, "chmod 600", 0o660},
		{"empty", " \n", "no secret", 0o600},
		{"long", strings.Repeat("x", 4097), "at most 4KiB", 0o600},
	} {
		path := filepath.Join(dir, tc.name)
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tc.mode); err != nil {
			t.Fatal(err)
		}
		got, err := config.ReadSecret(path)
		switch {
		case tc.want == "" && (err != nil || got.Reveal() != confidential):
			t.Errorf("%s: got %q, %v", tc.name, got.Reveal(), err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: got %v, want %s with %q", tc.name, err, path, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), confidential) {
			t.Errorf("%s: the secret shows: %v", tc.name, err)
		}
	}
	if _, err := config.ReadSecret(dir); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a directory: got %v", err)
	}
}
