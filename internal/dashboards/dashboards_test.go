package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

var update = flag.Bool("update", false, "write dashboards/*.json")

func folder(t *testing.T) string {
	t.Helper()
	return filepath.Join(testtool.Root(t), "dashboards")
}

func encode(t *testing.T, d Dashboard) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestFilesAreWhatIsBuilt compares dashboards/*.json with the builders; -update
// writes them.
func TestFilesAreWhatIsBuilt(t *testing.T) {
	want := map[string]bool{}
	for _, d := range All() {
		name := d.UID + ".json"
		file, text := filepath.Join(folder(t), name), encode(t, d)
		want[name] = true
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(text), string(have)); diff != "" {
			t.Errorf("dashboards/%s is not what is built; go test ./internal/dashboards -run Built -update writes it (-built +file):\n%s", name, diff)
		}
	}
	entries, err := os.ReadDir(folder(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !want[e.Name()] {
			t.Errorf("dashboards/%s is built by nobody", e.Name())
		}
	}
}

// TestNamesThatAreLinked are those that cards, rules and people refer to.
func TestNamesThatAreLinked(t *testing.T) {
	d := AgentHealth()
	if d.UID != "agent-health" || d.Title != "OpenClaw Agent Health Dashboard" || d.Refresh != "30s" || !slices.Equal(d.Tags, []string{"openclaw", "agent", "monitoring"}) {
		t.Errorf("agent-health is called %s, %s, %v, %s", d.UID, d.Title, d.Tags, d.Refresh)
	}
	var rows, panels []string
	for _, p := range d.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		} else {
			panels = append(panels, p.Title)
		}
	}
	if diff := cmp.Diff([]string{"系统资源概览", "Agent 健康状态", "告警状态"}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, name := range []string{"CPU 使用率", "内存使用率", "磁盘使用率", "系统负载", "Agent 心跳状态", "任务停滞时长", "待办任务数", "429 错误计数", "Prometheus 目标状态", "活跃告警"} {
		if !slices.Contains(panels, name) {
			t.Errorf("no panel is called %s", name)
		}
	}
}

// TestNumbersThatAreLinked pins the panels that the rules in alerting/rules name by
// number: change both together.
func TestNumbersThatAreLinked(t *testing.T) {
	want := map[string]int{"Agent 心跳状态": 7, "Agent 状态时间线": 8, "Prometheus 目标状态": 14, "请求速率": 2, "模型可用后端": 13, "账本失败": 19,
		"规则计算失败": 3, "送往 Alertmanager": 5, "链路各环": 6, "配置重载": 7, "被放弃的通知": 11, "最久未送达": 17, "死信": 18, "距上次核对": 19, "接收人配置": 20,
		"飞书可达": 22, "按钮长连接": 23, "投递结果": 24}
	for _, d := range All() {
		for _, p := range d.Panels {
			if id, linked := want[p.Title]; linked && id != p.ID {
				t.Errorf("%s: the panel %s is number %d, rules link %d", d.UID, p.Title, p.ID, id)
			}
			delete(want, p.Title)
		}
	}
	if len(want) > 0 {
		t.Errorf("rules link panels that are not there: %v", want)
	}
}

// TestThresholds are those that the rules and people know.
func TestThresholds(t *testing.T) {
	want := map[string][]float64{"CPU 使用率": {70, 90}, "内存使用率": {80, 95}, "磁盘使用率": {80, 95}, "任务停滞时长": {3600, 14400}, "待办任务数": {5, 10}, "429 错误计数": {10, 50}}
	for _, p := range AgentHealth().Panels {
		values, ok := want[p.Title]
		if !ok {
			continue
		}
		var got []float64
		for _, s := range p.FieldConfig.Defaults.Thresholds.Steps[1:] {
			got = append(got, *s.Value)
		}
		if !slices.Equal(got, values) {
			t.Errorf("%s: thresholds %v, want %v", p.Title, got, values)
		}
	}
}

// TestProvisioning holds what Grafana is started with to what is shipped.
func TestProvisioning(t *testing.T) {
	var sources struct {
		Datasources []struct {
			Type    string
			UID     string
			Default bool              `yaml:"isDefault"`
			Data    map[string]string `yaml:"jsonData"`
		}
	}
	var providers struct {
		Providers []struct {
			Folder  string
			Type    string
			Updates bool `yaml:"allowUiUpdates"`
			Options struct{ Path string }
		}
	}
	provisioning := filepath.Join(testtool.Root(t), "compose", "grafana", "provisioning")
	for file, into := range map[string]any{"datasources/prometheus.yaml": &sources, "dashboards/openclaw.yaml": &providers} {
		text, err := os.ReadFile(filepath.Join(provisioning, file))
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := sources.Datasources; len(s) != 1 || s[0].Type != "prometheus" || s[0].UID != "fleetwatch-prometheus" || !s[0].Default || s[0].Data["httpMethod"] != "POST" || s[0].Data["timeInterval"] != "15s" {
		t.Errorf("datasources %+v", s)
	}
	compose, err := os.ReadFile(filepath.Join(testtool.Root(t), "compose", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p := providers.Providers
	if len(p) != 1 || p[0].Folder != Folder || p[0].Type != "file" || p[0].Updates || !strings.Contains(string(compose), "../dashboards:"+p[0].Options.Path+":ro") {
		t.Errorf("providers %+v, or their path is not mounted", p)
	}
}
