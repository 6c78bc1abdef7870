package alerting

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// expression is a PromQL tree as Prometheus' own parser gives it, see
// https://prometheus.io/docs/prometheus/latest/querying/api/#parsing-a-promql-expressions-into-a-abstract-syntax-tree-ast
type expression struct {
	Type     string        `json:"type"`
	Name     string        `json:"name"` // of a selector
	Op       string        `json:"op"`
	Expr     *expression   `json:"expr"`
	LHS      *expression   `json:"lhs"`
	RHS      *expression   `json:"rhs"`
	Args     []*expression `json:"args"`
	Grouping []string      `json:"grouping"`
	Without  bool          `json:"without"`
	Val      string        `json:"val"`
	Func     struct {
		Name       string `json:"name"`
		ReturnType string `json:"returnType"`
	} `json:"func"`
	Matchers []struct {
		Name  string `json:"name"`
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"matchers"`
	Matching *struct {
		On      bool     `json:"on"`
		Labels  []string `json:"labels"`
		Include []string `json:"include"`
	} `json:"matching"`
}

// parserOf starts a Prometheus and returns its parser. The library cannot be a
// dependency: it asks for an Alertmanager that is not the pinned one.
func parserOf(t *testing.T) func(string) *expression {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("scrape_configs: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := testtool.FreeAddress(t)
	testtool.Start(t, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	testtool.WaitReady(t, "http://"+address+"/-/ready")
	return func(query string) *expression {
		t.Helper()
		_, answer := request(t, http.MethodGet, "http://"+address+"/api/v1/parse_query?query="+url.QueryEscape(query), nil)
		var parsed struct {
			Data  *expression `json:"data"`
			Error string      `json:"error"`
		}
		if err := json.Unmarshal(answer, &parsed); err != nil || parsed.Data == nil {
			t.Fatalf("parsing %s: %v %s", query, err, parsed.Error)
		}
		return parsed.Data
	}
}

// labels are what a vector can carry: label to the values it can have, nil where
// any can come.
type labels map[string][]string

// anything marks a vector of an outside exporter, of which no label is refused.
const anything = "*"

func (l labels) has(name string) bool {
	_, ok := l[name]
	_, open := l[anything]
	return ok || open
}

func (l labels) with(other labels) labels {
	sum := maps.Clone(l)
	for name, values := range other {
		if mine, ok := sum[name]; !ok {
			sum[name] = values
		} else if mine != nil && values != nil {
			sum[name] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(mine, values))))
		} else {
			sum[name] = nil
		}
	}
	return sum
}

func (l labels) only(names []string) labels {
	out := labels{}
	for _, name := range names {
		out[name] = l[name]
	}
	return out
}

func (l labels) without(names []string) labels {
	out := maps.Clone(l)
	for _, name := range names {
		delete(out, name)
	}
	return out
}

// judge finds out which labels an expression can yield, and what it names that
// does not exist.
type judge struct {
	metrics  map[string]labels // what can be selected
	problems []string
}

func (j *judge) complain(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

func (j *judge) need(l labels, names []string, where string) {
	for _, name := range names {
		if !l.has(name) {
			j.complain("%s names the label %s, which no metric there has", where, name)
		}
	}
}

// labels returns what the expression yields; a scalar yields none.
func (j *judge) labels(e *expression) labels {
	switch e.Type {
	case "vectorSelector", "matrixSelector":
		return j.selector(e)
	case "parenExpr", "unaryExpr", "subquery":
		return j.labels(e.Expr)
	case "aggregation":
		inner := j.labels(e.Expr)
		j.need(inner, e.Grouping, e.Op)
		if e.Without {
			return inner.without(e.Grouping)
		}
		return inner.only(e.Grouping)
	case "binaryExpr":
		return j.binary(e)
	case "call":
		return j.call(e)
	case "numberLiteral", "stringLiteral":
		return labels{}
	default:
		j.complain("the gate test does not know expressions of type %s yet", e.Type)
		return labels{}
	}
}

func (j *judge) selector(e *expression) labels {
	all, known := j.metrics[e.Name]
	if !known && outside(e.Name) {
		all, known = labels{anything: nil}, true
	}
	if !known {
		j.complain("%s is exposed by no program and recorded by no rule", e.Name)
		return labels{anything: nil}
	}
	for _, m := range e.Matchers {
		if m.Name == "__name__" {
			continue
		}
		j.need(all, []string{m.Name}, e.Name)
		if values := all[m.Name]; m.Type == "=" && values != nil && !slices.Contains(values, m.Value) {
			j.complain("%s{%s=%q}: the label has only the values %v", e.Name, m.Name, m.Value, values)
		}
	}
	return all
}

// outside reports whether a metric comes from Prometheus or an exporter that is
// not ours.
func outside(name string) bool {
	return slices.Contains([]string{"ALERTS", "ALERTS_FOR_STATE"}, name) ||
		slices.ContainsFunc([]string{"prometheus_", "alertmanager_", "node_", "scrape_"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func (j *judge) binary(e *expression) labels {
	left, right := j.labels(e.LHS), j.labels(e.RHS)
	m := e.Matching
	switch {
	case m == nil && len(left) == 0:
		return right
	case m == nil:
		return left
	case m.On:
		j.need(left, m.Labels, e.Op+" on")
		j.need(right, m.Labels, e.Op+" on")
	default:
		j.need(left.with(right), m.Labels, e.Op+" ignoring")
	}
	j.need(right, m.Include, "group_left or group_right")
	switch {
	case e.Op == "or":
		return left.with(right)
	case e.Op == "and" || e.Op == "unless":
		return left
	case len(m.Include) > 0:
		return left.with(right.only(m.Include))
	case m.On:
		return left.only(m.Labels)
	default:
		return left.without(m.Labels)
	}
}

func (j *judge) call(e *expression) labels {
	out := labels{}
	for _, argument := range e.Args {
		out = out.with(j.labels(argument))
	}
	switch {
	case e.Func.ReturnType == "scalar" || e.Func.Name == "vector":
		return labels{}
	case e.Func.Name == "label_replace" || e.Func.Name == "label_join":
		return out.with(labels{e.Args[1].Val: nil})
	case e.Func.Name == "histogram_quantile":
		return out.without([]string{"le"})
	default:
		return out
	}
}
