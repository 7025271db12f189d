package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// A Mode is what a broker takes part in.
type Mode string

const (
	Running  Mode = "running"
	Draining Mode = "draining" // it gives what it has to others, and takes nothing
	Stopped  Mode = "stopped"  // neither; what was under way comes to its end
)

// An Operator is what can be asked of a broker in a network. An error says why not.
type Operator interface {
	Status(ctx context.Context) (Status, error)
	// Explain says of each broker that answers why the messages of a queue wait there.
	Explain(ctx context.Context, queue string) ([]Explanation, error)
	SetMode(ctx context.Context, m Mode) error
}

// ControlSocket is where, within the data directory, a running broker is asked about
// its network: a socket that only its owner may use.
const ControlSocket = "network.sock"

// ListenControl opens the control socket in the data directory, which the caller has
// locked: one that is there was left by a process that is gone.
func ListenControl(data string) (net.Listener, error) {
	name := filepath.Join(data, ControlSocket)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("the control socket, whose path may have about 100 octets: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// controlPatience is how long an operator is let wait, at the most.
const controlPatience = 10 * time.Second

// ServeControl answers who comes to the control socket until ctx ends, and closes the
// listener.
func ServeControl(ctx context.Context, listener net.Listener, o Operator, logger *zap.Logger) error {
	mux := http.NewServeMux()
	answer := func(pattern string, fn func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := fn(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v) // who asked has gone
		})
	}
	answer("GET /status", func(r *http.Request) (any, error) { return o.Status(r.Context()) })
	answer("GET /explain", func(r *http.Request) (any, error) { return o.Explain(r.Context(), r.FormValue("queue")) })
	answer("POST /mode", func(r *http.Request) (any, error) {
		m := Mode(r.FormValue("mode"))
		logger.Info("the network: an operator has changed what this broker takes part in", zap.String("mode", string(m)))
		return m, o.SetMode(r.Context(), m)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: controlPatience, WriteTimeout: controlPatience}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A Control asks the broker that runs on a data directory.
type Control struct {
	data   string
	client http.Client
}

// NewControl returns an Operator by way of the control socket in data.
func NewControl(data string) *Control {
	name := filepath.Join(data, ControlSocket)
	return &Control{data: data, client: http.Client{Timeout: controlPatience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", name)
		},
	}}}
}

func (c *Control) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/status", &s)
}

func (c *Control) Explain(ctx context.Context, queue string) (all []Explanation, err error) {
	return all, c.ask(ctx, http.MethodGet, "/explain?queue="+url.QueryEscape(queue), &all)
}

func (c *Control) SetMode(ctx context.Context, m Mode) error {
	var now Mode
	return c.ask(ctx, http.MethodPost, "/mode?mode="+url.QueryEscape(string(m)), &now)
}

func (c *Control) ask(ctx context.Context, method, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://broker"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.client.Do(r)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("on %s no broker runs that serves clients and is in a network", c.data)
	case err != nil:
		return fmt.Errorf("the broker on %s does not answer: %w", c.data, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		return errors.New(string(text))
	}
	return json.NewDecoder(response.Body).Decode(v)
}
