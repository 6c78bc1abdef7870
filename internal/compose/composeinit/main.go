// Composeinit is the `init` service of the container stack: it makes the secrets
// that are missing, gives each service those that it needs, and ends. See
// internal/compose.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

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
	database := fs.String("database", "/gateway/gateway.db", "the gateway's database `file`, which a fresh encryption key could not open")
	fs.Var(own, "uid", "`SERVICE=UID` of a service that runs on the host as another user; repeatable")
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), "usage: composeinit [flags]            make what is missing\n       composeinit [flags] show NAME  print a secret\n\nflags:\n")
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
	case fs.NArg() > 0:
		return fmt.Errorf("unexpected %q; -h explains", fs.Args())
	}
	if err := compose.CheckSettings(func(name string) bool { return os.Getenv(name) != "" }); err != nil {
		return err
	}
	made, err := compose.Prepare(*root, *database, own)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d secrets made, %d in all\n", made, len(compose.Names()))
	return err
}
