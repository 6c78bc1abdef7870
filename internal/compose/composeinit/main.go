// Composeinit is the `init` service of the container stack: it makes the secrets
// that are missing, gives each service those that it needs and the folder of its
// data, and ends. A copy of it is the healthcheck of images that have none. See
// internal/compose.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/compose"
)

// uids is a repeatable flag SERVICE=UID.
type uids map[string]int

func (u uids) String() string { return "" }

func (u uids) Set(value string) error {
	service, id, _ := strings.Cut(value, "=")
	uid, err := strconv.Atoi(id)
	if err != nil || service == "" || uid < 0 {
		return fmt.Errorf("expected SERVICE=UID, got %q", value)
	}
	u[service] = uid
	return nil
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	own := uids{}
	fs := flag.NewFlagSet("composeinit", flag.ContinueOnError)
	root := fs.String("dir", "/secrets", "`folder` of the volumes")
	data := fs.String("data", "/data", "`folder` of the services' data volumes")
	tools := fs.String("tools", "/tools", "`folder` that gets a copy of this program for healthchecks")
	fs.Var(own, "uid", "`SERVICE=UID` of a service that runs on the host as another user; repeatable")
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), "usage: composeinit [flags]                  make what is missing\n       composeinit [flags] show NAME        print a secret\n"+
			"       composeinit [flags] healthcheck URL  ask whether it answers 200\n\nflags:\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	switch {
	case fs.NArg() == 2 && fs.Arg(0) == "show":
		secret, err := compose.Secret(*root, fs.Arg(1))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, secret)
		return err
	case fs.NArg() == 2 && fs.Arg(0) == "healthcheck":
		return healthcheck(fs.Arg(1))
	case fs.NArg() > 0:
		return fmt.Errorf("unexpected %q; -h explains", fs.Args())
	}
	if err := compose.CheckSettings(func(name string) bool { return os.Getenv(name) != "" }); err != nil {
		return err
	}
	made, err := compose.Prepare(*root, *data, own)
	if err != nil {
		return err
	}
	if err := compose.GiveData(*data, compose.Owners()); err != nil {
		return err
	}
	if err := compose.InstallHealthcheck(*tools); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d secrets made, %d in all\n", made, len(compose.Names()))
	return err
}

func healthcheck(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // only the status matters
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
