package peft

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseConfigFixtures(t *testing.T) {
	c, err := ParseConfig(readFixture(t, "mt5/regex/"+configFile))
	if err != nil {
		t.Fatal(err)
	}
	target, feedForward := `.*(encoder\.block\.1|EncDecAttention).*\.(k|v|wo)`, `.*\.wo`
	want := &Config{
		Target: Modules{Pattern: &target}, FeedForward: Modules{Pattern: &feedForward},
		TaskType: "SEQ_2_SEQ_LM", BaseModel: "base", PEFTVersion: "0.18.0",
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		field string // added to a minimal configuration
		want  string
	}{
		"modules_to_save":          {`"modules_to_save":["lm_head"]`, "modules_to_save is set: whole modules"},
		"fan_in_fan_out":           {`"fan_in_fan_out":true`, "fan_in_fan_out is set"},
		"layers_to_transform list": {`"layers_to_transform":[0]`, "layers_to_transform is set"},
		"layers_to_transform zero": {`"layers_to_transform":0`, "layers_to_transform is set"},
		"layers_pattern":           {`"layers_pattern":"block"`, "layers_pattern is set"},
		"rank_pattern":             {`"rank_pattern":{"k":1}`, "rank_pattern is set"},
		"target_parameters":        {`"target_parameters":["x"]`, "target_parameters is set"},
		"target_modules number":    {`"target_modules":1`, "target_modules: it must be a list"},
		"target_modules object":    {`"target_modules":{}`, "target_modules: it must be a list"},
		"a number among names":     {`"target_modules":["k",1]`, "target_modules: "},
		"a null among names":       {`"exclude_modules":["k",null]`, "exclude_modules: name 1 is null"},
		"too many names":           {`"feedforward_modules":["k"` + strings.Repeat(`,"k"`, maxNames) + `]`, "feedforward_modules: it lists 4097 names"},
		"another method":           {`"peft_type":"LORA"`, `peft_type is "LORA"; only "IA3"`},
		"no method":                {`"peft_type":null`, `peft_type is ""`},
		"base model number":        {`"base_model_name_or_path":1`, "base_model_name_or_path: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConfig([]byte(`{"peft_type":"IA3",` + c.field + `}`))
			wants(t, err, configFile, c.want)
		})
	}
	for _, text := range []string{``, `[]`, `"IA3"`, `{`, `null`, `{}`} {
		_, err := ParseConfig([]byte(text))
		wants(t, err, configFile)
	}
}

func TestParseConfigPasses(t *testing.T) {
	for _, field := range []string{
		`"modules_to_save":null`, `"modules_to_save":[ ]`, `"fan_in_fan_out":false`, `"rank_pattern":{}`, `"layers_pattern":""`,
		`"init_ia3_weights":false`, `"inference_mode":false`, `"runtime_config":{}`, `"a_field_of_the_future":[1]`,
		`"Target_Modules":1`, `"revision":null`, `"task_type":null`,
	} {
		c, err := ParseConfig([]byte(`{"peft_type":"IA3",` + field + `}`))
		if err != nil || !reflect.DeepEqual(c, &Config{}) {
			t.Errorf("%s: %+v, %v", field, c, err)
		}
	}
}

func TestModulesJSON(t *testing.T) {
	for _, text := range []string{`null`, `[]`, `["k","v"]`, `""`, `"a|b"`} {
		var m Modules
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(m); got != text {
			t.Errorf("%s came back as %s", text, got)
		}
		if m.IsNull() != (text == "null") {
			t.Errorf("%s: IsNull is %v", text, m.IsNull())
		}
	}
	m := Modules{Names: []string{"old"}}
	if err := json.Unmarshal([]byte(`"new"`), &m); err != nil || m.Names != nil {
		t.Errorf("an old value shines through: %+v, %v", m, err)
	}
}
