package main

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"valence/runtime/mt5/spec"
)

// ended waits for a job's end, whatever it is.
func ended(t testing.TB, url, job string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(jobPatience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		status, answer := call(t, http.MethodGet, url+"/v1/jobs/"+job, nil)
		if status != http.StatusOK {
			t.Fatalf("%d %v", status, answer)
		}
		switch answer["state"] {
		case "succeeded", "failed", "cancelled":
			return answer
		}
	}
	t.Fatalf("job %s does not come to an end", job)
	return nil
}

// hugeKeys are scales of keys near the greatest at which an attention's scores are finite in
// single precision. With one of them a few texts of trainingRows lie above it and most
// below; which one that is depends on the processor.
func hugeKeys() []float32 {
	return []float32{8e35, 8.5e35, 9e35, 9.5e35, 1e36, 1.05e36, 1.1e36, 1.15e36, 1.2e36, 1.25e36}
}

// diverging trains on versions with ever greater keys until one comes to numbers that are
// none, in its steps and not only when its canaries are asked, and gives the job and how it
// ended.
func diverging(t *testing.T, url string) (job string, end map[string]any) {
	t.Helper()
	request := map[string]any{"data": map[string]any{"examples": trainingRows(120)}, "epochs": 1, "seed": 2, "activate": "never"}
	for i := range hugeKeys() {
		request["warm_start_from"] = fmt.Sprintf("huge%d", i)
		job = train(t, url, "lost", request)
		end = ended(t, url, job)
		if failure, ok := end["error"].(map[string]any); ok && failure["phase"] == "running" && failure["step"] != 1.0 {
			return job, end
		}
	}
	t.Fatal("no training diverges after its first step")
	return "", nil
}

// TestTrainingDiverges trains on a version whose gradients are no numbers for some texts:
// the job ends there and says at which step, what was learnt before answers, nothing is
// published of it, and the server goes on.
func TestTrainingDiverges(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains")
	}
	var flags []string
	for i, scale := range hugeKeys() {
		flags = append(flags, "--adapter", fmt.Sprintf("huge%d=%s", i, folderOf(t, func(s spec.Site) float32 {
			if strings.HasSuffix(s.Module, ".k") {
				return scale
			}
			return 1
		}, "")))
	}
	p := startProcess(t, t.TempDir(), flags...)
	url := p.api.URL()
	const text = "In week 3 the pilot is a delight."
	_, before, _, err := ask(url, text, "base")
	if err != nil {
		t.Fatal(err)
	}
	job, end := diverging(t, url)
	failure := end["error"].(map[string]any)
	t.Log(failure["message"])
	if end["state"] != "failed" || failure["code"] != "diverged" || failure["phase"] != "running" || end["version"] != nil || end["digest"] != nil {
		t.Fatalf("%v", end)
	}
	if learnt := end["progress"].(map[string]any)["step"].(float64); failure["step"] != learnt+1 {
		t.Errorf("failed at step %v after %v", failure["step"], learnt)
	}
	if message := failure["message"].(string); !strings.Contains(message, "lower the learning rate") || !strings.Contains(message, "lost@job:"+job) {
		t.Errorf("%q", message)
	}
	if _, score, _, err := ask(url, text, "lost@job:"+job); err != nil || math.IsNaN(score) {
		t.Errorf("what was learnt before: %v, %v", score, err)
	}
	if status, answer := call(t, http.MethodPost, url+"/v1/jobs/"+job+"/retry", nil); status/100 != 2 {
		t.Errorf("%d %v", status, answer)
	}
	if again := ended(t, url, job); again["state"] != "failed" || again["error"].(map[string]any)["step"] != failure["step"] {
		t.Errorf("after a retry: %v, %v", again["state"], again["error"])
	}
	if _, score, _, err := ask(url, text, "base"); err != nil || math.Abs(score-before) > 1e-6 {
		t.Errorf("the base answers %v after %v: %v", score, before, err)
	}
}
