package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

// containers returns the way to run the suite in containers, and whether that is the
// way to take.
func containers(ctx context.Context, o options, l stack.Layout) (stack.Containers, bool, error) {
	mode, err := stack.ParseMode(o.mode)
	if err != nil || mode == stack.Native {
		return stack.Containers{}, false, err
	}
	if o.offset != 0 {
		if mode == stack.Docker {
			return stack.Containers{}, false, errors.New("the ports of containers are fixed: PORT_OFFSET needs MODE=native")
		}
		return stack.Containers{}, false, nil
	}
	c, err := stack.FindContainers(ctx, l)
	if errors.Is(err, stack.ErrNoEngine) && mode == stack.Auto {
		return c, false, nil
	}
	return c, err == nil, err
}

// upContainers starts the suite in containers. Where the images cannot be had and the
// mode was not chosen by hand, it reports false: nothing was started.
func upContainers(ctx context.Context, o options, l stack.Layout, s stack.Settings, c stack.Containers) (bool, error) {
	fmt.Println("A Docker engine is there: the suite runs in containers (MODE=native runs it without).")
	fmt.Println("Building and fetching images (the first time takes some minutes) ...")
	if err := c.Images(ctx, os.Stdout); err != nil {
		if ctx.Err() != nil || o.mode == string(stack.Docker) {
			return false, err
		}
		fmt.Printf("\nThe images cannot be had here (%v).\nNothing was started; the suite runs without containers instead. MODE=docker would stop here; REGISTRY and GOPROXY in compose/.env name mirrors.\n\n", err)
		return false, nil
	}
	fmt.Println("Starting ...")
	if err := c.Up(ctx, os.Stdout); err != nil {
		return false, fmt.Errorf("%w; what a service says: docker compose -f compose/compose.yaml logs NAME", err)
	}
	statuses, err := c.Statuses(ctx, l, s)
	if err != nil {
		return false, err
	}
	fmt.Println()
	stack.PrintServices(os.Stdout, statuses)
	fmt.Println("\nsecrets: docker compose -f compose/compose.yaml run --rm init show NAME   logs: docker compose -f compose/compose.yaml logs NAME")
	return true, nil
}

// runningContainers returns the statuses of a suite in containers, none where there is
// no such suite.
func runningContainers(ctx context.Context, o options, l stack.Layout) (stack.Containers, []stack.Status, error) {
	c, use, err := containers(ctx, o, l)
	if err != nil || !use {
		return c, nil, err
	}
	settings, err := stack.ReadSettings(l.Root)
	if err != nil {
		return c, nil, err
	}
	l.Bind = settings.PublishedOn()
	statuses, err := c.Statuses(ctx, l, settings)
	return c, statuses, err
}

// show prints statuses, and says so where something is not ready.
func show(o options, statuses []stack.Status, table func(), logOf func(service string) string) error {
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(statuses)
	}
	table()
	for _, s := range statuses {
		if s.State != "ready" {
			return fmt.Errorf("%s is %s; its log is %s", s.Service, s.State, logOf(s.Service))
		}
	}
	return nil
}
