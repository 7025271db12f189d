package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// An Operator is what can be asked of a running node. [Node] is one.
type Operator interface {
	Status() Status
	// Switchover makes the standby the master. It returns when that serves clients, or why it does not.
	Switchover(ctx context.Context) error
	// Promote makes this node the master though it may not know all that was acknowledged (R11). Without acceptLoss it only
	// says what may be lost, in its error.
	Promote(ctx context.Context, acceptLoss bool) error
	// Resync has this node get a copy of the master's journal in the place of its own.
	Resync(ctx context.Context) error
}

// ControlSocket is where, within the data directory, a running node is asked: a socket that only its owner may use.
const ControlSocket = "failover.sock"

// ListenControl opens the control socket in the data directory, which the caller has locked: one that is there was left by a
// process that is gone.
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

// OperatorPatience is how long a node lets an operator wait for what he asks, at the most.
const OperatorPatience = 20 * time.Second

// ServeControl answers who comes to the control socket until ctx ends, and closes the listener.
func ServeControl(ctx context.Context, listener net.Listener, o Operator, logger *zap.Logger) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.Status()) })
	act := func(path string, fn func(*http.Request) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), OperatorPatience)
			defer cancel()
			var answer controlAnswer
			if err := fn(r.WithContext(ctx)); err != nil {
				answer.Error = err.Error()
			}
			writeJSON(w, answer)
		})
	}
	act("/switchover", func(r *http.Request) error { return o.Switchover(r.Context()) })
	act("/promote", func(r *http.Request) error { return o.Promote(r.Context(), r.FormValue("accept-loss") == "true") })
	act("/resync", func(r *http.Request) error { return o.Resync(r.Context()) })
	return serveHTTP(ctx, listener, mux, logger)
}

// ServeHealth answers load balancers until ctx ends, and closes the listener: GET /health is 200 where clients are served,
// and else 503; with ?role=any, 200 on a standby that can take over too. The body is the role. Another role is answered with 400.
func ServeHealth(ctx context.Context, listener net.Listener, status func() Status, logger *zap.Logger) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		s, role := status(), r.FormValue("role")
		if role != "" && role != "any" {
			http.Error(w, fmt.Sprintf("role=%q: it may be any, or be left out for the master", role), http.StatusBadRequest)
			return
		}
		if !s.Serving && !(role == "any" && s.Role == Standby.String()) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, s.Role)
	})
	return serveHTTP(ctx, listener, mux, logger)
}

// serveHTTP serves until ctx ends. Requests that are under way then are cut.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler, logger *zap.Logger) error {
	complaints, err := zap.NewStdLogAt(logger, zap.WarnLevel)
	if err != nil {
		return err
	}
	server := http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          complaints,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err = server.Serve(listener)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

type controlAnswer struct {
	Error string `json:"error,omitempty"`
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who asked has gone
}

// A Control asks a node that runs on this machine. It implements what [Operator] has.
type Control struct {
	client   http.Client
	patience time.Duration // with a status
}

// statusPatience is how long a node may take to say how it is. It does so at once, unless its process stands still.
const statusPatience = 5 * time.Second

// NewControl makes one for the node with this data directory.
func NewControl(data string) *Control {
	name := filepath.Join(data, ControlSocket)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", name)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &Control{client: http.Client{Transport: transport}, patience: statusPatience}
}

// Status asks for the node's. The error wraps that of the socket when no node of a pair runs there.
func (c *Control) Status(ctx context.Context) (s Status, err error) {
	asking, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	err = c.ask(asking, http.MethodGet, "status", &s)
	if err != nil && asking.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("the node's process does not answer, for %s: it was stopped, or its disk stands still", c.patience)
	}
	return s, err
}

// Switchover is that of [Operator].
func (c *Control) Switchover(ctx context.Context) error { return c.act(ctx, "switchover") }

// Promote is that of [Operator].
func (c *Control) Promote(ctx context.Context, acceptLoss bool) error {
	return c.act(ctx, fmt.Sprintf("promote?accept-loss=%t", acceptLoss))
}

// Resync is that of [Operator].
func (c *Control) Resync(ctx context.Context) error { return c.act(ctx, "resync") }

// act asks for something that may take a while of a process that answers.
func (c *Control) act(ctx context.Context, what string) error {
	if _, err := c.Status(ctx); err != nil {
		return err
	}
	var answer controlAnswer
	if err := c.ask(ctx, http.MethodPost, what, &answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}

func (c *Control) ask(ctx context.Context, method, what string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://node/"+what, nil)
	if err != nil {
		return err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return fmt.Errorf("no node of a pair answers: %w", errors.Unwrap(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("the node answered %s: %s", response.Status, text)
	}
	return json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(into)
}
