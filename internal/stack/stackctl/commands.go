package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

// downTimeout is longer than the slowest service may take to end.
const downTimeout = 3 * time.Minute

func build(ctx context.Context, o options, _ []string) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	return stack.BuildPrograms(ctx, l.Root, os.Stdout)
}

func tools(ctx context.Context, o options, names []string) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	return stack.BuildTools(ctx, l.Root, os.Stdout, names...)
}

func buildAll(ctx context.Context, l stack.Layout) error {
	fmt.Println("Building (the first time takes some minutes) ...")
	if err := stack.BuildTools(ctx, l.Root, os.Stdout, "alertmanager", "prometheus", "node_exporter"); err != nil {
		return err
	}
	return stack.BuildPrograms(ctx, l.Root, os.Stdout)
}

func up(ctx context.Context, o options, _ []string) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	settings, err := stack.ReadSettings(l.Root)
	if err != nil {
		return err
	}
	if statuses, err := stack.Connect(l).Statuses(ctx); err == nil {
		fmt.Println("The suite is up already.")
		stack.PrintTable(os.Stdout, l, statuses)
		return nil
	}
	c, use, err := containers(ctx, o, l)
	if err != nil {
		return err
	}
	if use {
		inside := l
		inside.Bind = settings.PublishedOn()
		if done, err := upContainers(ctx, o, inside, settings, c); done || err != nil {
			return err
		}
	}
	if err := buildAll(ctx, l); err != nil {
		return err
	}
	unlock, err := l.Lock()
	if err != nil {
		return err
	}
	if err := unlock(); err != nil { // the supervisor takes it
		return fmt.Errorf("unlocking the suite: %w", err)
	}
	pace := paceOf(settings)
	if err := stack.NewPlan(l, settings, pace).CheckPorts(); err != nil {
		return err
	}
	made, err := stack.Prepare(l, pace)
	if err != nil {
		return err
	}
	if err := stack.NewPlan(l, settings, pace).WriteWrappers(); err != nil {
		return err
	}
	if made > 0 {
		fmt.Printf("Made %d secrets in %s (0600).\n", made, filepath.Join(l.Dir, "secrets"))
	}
	fmt.Println("Starting ...")
	statuses, err := background(ctx, o, l)
	if err != nil {
		return err
	}
	fmt.Println()
	stack.PrintTable(os.Stdout, l, statuses)
	return nil
}

func paceOf(s stack.Settings) stack.Pace {
	if s.OwnAgents() {
		return stack.NormalPace()
	}
	return stack.SandboxPace()
}

// background starts a supervisor that outlives this command and returns once
// every service is ready.
func background(ctx context.Context, o options, l stack.Layout) ([]stack.Status, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	logFile := l.LogFile("supervisor")
	log, err := os.OpenFile(filepath.Clean(logFile), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the supervisor's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	command := exec.Command(self, "-root", l.Root, "-name", o.name, "-offset", fmt.Sprint(o.offset), "supervise") //nolint:noctx // this program; outlives us
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	return follow(ctx, l, ended, logFile)
}

// follow prints each service as it becomes ready.
func follow(ctx context.Context, l stack.Layout, ended <-chan error, logFile string) ([]stack.Status, error) {
	remote, seen := stack.Connect(l), map[string]bool{}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		statuses, err := remote.Statuses(ctx)
		if err == nil {
			for _, s := range statuses {
				if s.State == "ready" && !seen[s.Service] {
					seen[s.Service] = true
					fmt.Printf("  %s is ready\n", s.Service)
				}
			}
			if len(seen) == len(statuses) {
				return statuses, nil
			}
		}
		select {
		case err := <-ended:
			if err == nil {
				return nil, errors.New("the suite was told to stop while it started")
			}
			text, _ := os.ReadFile(filepath.Clean(logFile)) // the reason, where it could be written
			return nil, fmt.Errorf("the suite did not start (%w):\n%s", err, text)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}

// supervise runs the suite until it is told to end.
func supervise(ctx context.Context, o options, _ []string) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	settings, err := stack.ReadSettings(l.Root)
	if err != nil {
		return err
	}
	unlock, err := l.Lock()
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }() // ends with the process in any case
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	supervisor := stack.NewSupervisor(stack.NewPlan(l, settings, paceOf(settings)))
	controlling, endControl := context.WithCancel(context.Background())
	control := make(chan error, 1)
	go func() { control <- supervisor.ServeControl(controlling, stop) }()
	err = supervisor.StartAll(ctx, os.Stdout)
	if err == nil {
		<-ctx.Done()
	} else if ctx.Err() != nil {
		err = nil // told to end while starting
	}
	err = errors.Join(err, supervisor.StopAll())
	endControl()
	return errors.Join(err, <-control)
}

func down(ctx context.Context, o options, _ []string) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	remote := stack.Connect(l)
	if err := remote.Down(ctx); errors.Is(err, stack.ErrNotRunning) {
		return downContainers(ctx, o, l)
	} else if err != nil {
		return err
	}
	fmt.Println("Stopping ...")
	if _, err := stack.Await(ctx, downTimeout, func(ctx context.Context) error {
		if _, err := remote.Statuses(ctx); !errors.Is(err, stack.ErrNotRunning) {
			return errors.New("the supervisor still runs")
		}
		return nil
	}); err != nil {
		return err
	}
	fmt.Printf("Stopped. Data is kept in %s.\n", l.Dir)
	return nil
}

// downContainers stops a suite in containers, if there is one.
func downContainers(ctx context.Context, o options, l stack.Layout) error {
	c, statuses, err := runningContainers(ctx, o, l)
	if err != nil {
		return err
	}
	if len(statuses) == 0 {
		fmt.Println("The suite is not running.")
		return nil
	}
	if err := c.Down(ctx, os.Stdout); err != nil {
		return err
	}
	fmt.Println("Stopped. Data is kept in Docker's volumes fleetwatch_*.")
	return nil
}

func status(ctx context.Context, o options, _ []string) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	statuses, err := stack.Connect(l).Statuses(ctx)
	if errors.Is(err, stack.ErrNotRunning) {
		_, inside, err := runningContainers(ctx, o, l)
		if err != nil {
			return err
		}
		if len(inside) == 0 {
			return errors.New("the suite is not running; start it with: make up")
		}
		return show(o, inside, func() { stack.PrintServices(os.Stdout, inside) }, func(service string) string {
			return "docker compose -f compose/compose.yaml logs " + service
		})
	} else if err != nil {
		return err
	}
	return show(o, statuses, func() { stack.PrintTable(os.Stdout, l, statuses) }, l.LogFile)
}

func act(action string) func(context.Context, options, []string) error {
	return func(ctx context.Context, o options, args []string) error {
		l, err := o.layout()
		if err != nil {
			return err
		}
		if len(args) != 1 {
			return fmt.Errorf("expected one service, for example: stackctl %s exporter", action)
		}
		return stack.Connect(l).Do(ctx, action, args[0])
	}
}

// demoOffset keeps the demo away from the ports of a suite.
const demoOffset = 10000

func demo(ctx context.Context, o options, _ []string) error {
	o.name, o.offset = "demo", o.offset+demoOffset
	l, err := o.layout()
	if err != nil {
		return err
	}
	if err := buildAll(ctx, l); err != nil {
		return err
	}
	plan := stack.NewPlan(l, stack.NoSettings(), stack.FastPace())
	if err := plan.CheckPorts(); err != nil {
		return err
	}
	// Each demo starts with an empty Feishu and a well fleet.
	if err := os.RemoveAll(l.Dir); err != nil {
		return fmt.Errorf("clearing the last demo: %w", err)
	}
	if _, err := stack.Prepare(l, plan.Pace); err != nil {
		return err
	}
	plan = stack.NewPlan(l, stack.NoSettings(), plan.Pace) // with the secrets that Prepare made
	if err := plan.WriteWrappers(); err != nil {
		return err
	}
	supervisor := stack.NewSupervisor(plan)
	defer func() {
		fmt.Println("\nStopping the demo ...")
		if err := supervisor.StopAll(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the demo:", err)
		}
	}()
	fmt.Println("Starting the sandbox suite (stand-ins for everything; no real credential is used) ...")
	if err := supervisor.StartAll(ctx, os.Stdout); err != nil {
		return err
	}
	fmt.Println()
	stack.PrintTable(os.Stdout, l, supervisor.Statuses())
	show := stack.Demo{Suite: stack.NewSuite(l), Supervisor: supervisor, Out: os.Stdout}
	if err := show.Run(ctx); err != nil {
		return err
	}
	if o.hold {
		fmt.Println("\nThe suite keeps running; Ctrl-C ends it.")
		<-ctx.Done()
	}
	return nil
}
