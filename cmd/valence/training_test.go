package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// go test ./cmd/valence -run TestTrainingSurvivesKills -training-kills 20
var trainingKills = flag.Int("training-kills", 2, "how often TestTrainingSurvivesKills kills the server")

// trainingRows are labelled texts of the repository's own, different ones for each number.
func trainingRows(n int) []map[string]string {
	subjects := []string{"the soup", "the pilot", "our landlord", "this phone", "the museum", "her speech", "the new update", "their website"}
	says := map[string][]string{
		"negative": {"is a disappointment", "failed again", "made everybody angry", "was far too slow", "broke within a week"},
		"neutral":  {"arrives on Monday", "has two parts", "is next to the station", "was mentioned in the report", "weighs nine kilos"},
		"positive": {"is a delight", "exceeded all hopes", "made everybody smile", "was wonderfully quick", "works like a charm"},
	}
	labels := slices.Sorted(maps.Keys(says))
	var rows []map[string]string
	for i := range n {
		label := labels[i%3]
		text := fmt.Sprintf("In week %d %s %s.", i, subjects[i/3%8], says[label][i/24%5])
		rows = append(rows, map[string]string{"text": text, "label": label})
	}
	return rows
}

// call sends a request with a body as JSON, or none, and reads the answer.
func call(t testing.TB, method, url string, body any) (int, map[string]any) {
	t.Helper()
	status, answer, err := tryCall(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer
}

func tryCall(method, url string, body any) (int, map[string]any, error) {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, url, in)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Cache-Control", "no-cache") // the model is to answer, not a memory
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	var answer map[string]any
	return resp.StatusCode, answer, json.NewDecoder(resp.Body).Decode(&answer)
}

// train asks for a training and gives the job's id.
func train(t testing.TB, url, adapter string, request map[string]any) string {
	t.Helper()
	status, answer := call(t, http.MethodPost, url+"/v1/adapters/"+adapter+"/train", request)
	if status != http.StatusAccepted {
		t.Fatalf("%d %v", status, answer)
	}
	return answer["id"].(string)
}

// jobPatience is how long a training of the tests may take on a busy machine.
const jobPatience = 10 * time.Minute

// trained waits for a job's success.
func trained(t testing.TB, url, job string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(jobPatience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		status, answer := call(t, http.MethodGet, url+"/v1/jobs/"+job, nil)
		switch {
		case status != http.StatusOK:
			t.Fatalf("%d %v", status, answer)
		case answer["state"] == "succeeded":
			return answer
		case answer["state"] == "failed" || answer["state"] == "cancelled":
			t.Fatalf("%v: %v", answer["state"], answer["error"])
		}
	}
	t.Fatalf("job %s does not come to an end", job)
	return nil
}

func smallTraining(epochs int) map[string]any {
	return map[string]any{"data": map[string]any{"examples": trainingRows(48)}, "epochs": epochs, "seed": 5, "dropout": true}
}

// TestTrainingSurvivesKills kills the server again and again while it trains, and wants the
// job to end by itself at the digest of the undisturbed run.
func TestTrainingSurvivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers")
	}
	epochs := 4 + 2**trainingKills
	quiet := startProcess(t, t.TempDir())
	begun := time.Now()
	want := trained(t, quiet.api.URL(), train(t, quiet.api.URL(), "calm", smallTraining(epochs)))
	whole := time.Since(begun)
	quiet.kill()

	dir := t.TempDir()
	p := startProcess(t, dir, "--checkpoint-every", "1s")
	job := train(t, p.api.URL(), "stormy", smallTraining(epochs))
	steps := want["progress"].(map[string]any)["steps"].(float64)
	for k := range *trainingKills {
		state, step := reaches(t, p.api.URL(), job, steps*(float64(k)+rand.Float64())/float64(*trainingKills))
		time.Sleep(time.Duration(rand.Float64() * float64(time.Second)))
		p.kill()
		t.Logf("killed after step %v, %s", step, state)
		p = startProcess(t, dir, "--checkpoint-every", "1s")
	}
	got := trained(t, p.api.URL(), job)
	if got["digest"] != want["digest"] || got["version"] != "v1" {
		t.Errorf("%v %v, not %v", got["version"], got["digest"], want["digest"])
	}
	if status, answer := call(t, http.MethodPost, p.api.URL()+"/v1/sentiment", map[string]any{"text": "In week 3 the pilot is a delight.", "adapter": "stormy"}); status != 200 {
		t.Errorf("%d %v", status, answer)
	}
	t.Logf("undisturbed: %.1f s for %v steps", whole.Seconds(), steps)
}

// reaches waits until a job has told of a step, or has come to its end.
func reaches(t testing.TB, url, job string, step float64) (state string, at float64) {
	t.Helper()
	for deadline := time.Now().Add(jobPatience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		_, answer := call(t, http.MethodGet, url+"/v1/jobs/"+job, nil)
		state = answer["state"].(string)
		if progress, ok := answer["progress"].(map[string]any); ok {
			at = progress["step"].(float64)
		}
		if at >= step || state == "succeeded" {
			return state, at
		}
		if state == "failed" {
			t.Fatalf("%v", answer["error"])
		}
	}
	t.Fatalf("the job does not reach step %v", step)
	return "", 0
}

// go test ./cmd/valence -run TestServingWhileTraining -v -serving-for 60s -serving-ratio 2
var (
	servingFor   = flag.Duration("serving-for", 3*time.Second, "how long TestServingWhileTraining asks with and without a training, each")
	servingRatio = flag.Float64("serving-ratio", 0, "the most that the 99th percentile of latency may grow while training; 0 only tells of it")
	servingRows  = flag.Int("serving-clients", 1, "clients of TestServingWhileTraining")
)

// question is a text with the answer that it has in a quiet server.
type question struct {
	text  string
	label string
	score float64
}

func ask(url, text, adapter string) (label string, score float64, took time.Duration, err error) {
	begin := time.Now()
	status, answer, err := tryCall(http.MethodPost, url+"/v1/sentiment", map[string]any{"text": text, "adapter": adapter})
	took = time.Since(begin)
	if err != nil {
		return "", 0, 0, err
	}
	if status != http.StatusOK {
		return "", 0, 0, fmt.Errorf("%d %v", status, answer)
	}
	row := answer["results"].([]any)[0].(map[string]any)
	return row["label"].(string), row["score"].(float64), took, nil
}

// load asks from some clients for a while and gives the latencies, sorted. An answer that is
// another than in a quiet server is an error.
func load(t testing.TB, url string, questions []question, clients int, span time.Duration) (took []time.Duration) {
	t.Helper()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		stop = time.Now().Add(span)
	)
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(c)))
			for time.Now().Before(stop) {
				q := questions[rng.IntN(len(questions))]
				label, score, d, err := ask(url, q.text, "base")
				if err != nil || label != q.label || math.Abs(score-q.score) > 1e-4 {
					t.Errorf("%q: %v, %s %v, not %s %v", q.text, err, label, score, q.label, q.score)
					return
				}
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// lengthened has texts of one to four times their length, as those of a set have many.
func lengthened(rows []map[string]string) []map[string]string {
	for i, row := range rows {
		row["text"] = strings.Repeat(row["text"]+" ", 1+i%4)
	}
	return rows
}

// TestServingWhileTraining asks a server with and without a training beside it, in turns: the
// answers must be the same, and the latency is compared. The vectors in training answer,
// too.
func TestServingWhileTraining(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains")
	}
	p := startProcess(t, t.TempDir())
	url := p.api.URL()
	var questions []question
	for _, row := range lengthened(trainingRows(120)) {
		label, score, _, err := ask(url, row["text"], "base")
		if err != nil {
			t.Fatal(err)
		}
		questions = append(questions, question{row["text"], label, score})
	}
	load(t, url, questions, *servingRows, time.Second)
	var ratios []float64
	for round := range 3 {
		without := load(t, url, questions, *servingRows, *servingFor/3)
		job := train(t, url, "busy", map[string]any{"data": map[string]any{"examples": lengthened(trainingRows(48))}, "epochs": 10_000})
		underWay(t, url, job)
		during := load(t, url, questions, *servingRows, *servingFor/3)
		live := liveScore(t, url, "busy@job:"+job)
		if status, answer := call(t, http.MethodPost, url+"/v1/jobs/"+job+"/cancel", nil); status/100 != 2 {
			t.Fatalf("%d %v", status, answer)
		}
		if len(without) == 0 || len(during) == 0 {
			t.Fatal("nothing was answered")
		}
		ratio := float64(percentile(during, 0.99)) / float64(percentile(without, 0.99))
		ratios = append(ratios, ratio)
		t.Logf("round %d: without %d answers, p50 %v, p99 %v; while training %d, p50 %v, p99 %v: ratio %.2f; live %v", round+1,
			len(without), percentile(without, 0.5), percentile(without, 0.99), len(during), percentile(during, 0.5), percentile(during, 0.99), ratio, live)
	}
	slices.Sort(ratios)
	t.Logf("ratio of p99: minimum %.2f, median %.2f", ratios[0], ratios[1])
	if *servingRatio > 0 && ratios[1] > *servingRatio {
		t.Errorf("the median ratio is %.2f, above %.2f", ratios[1], *servingRatio)
	}
}

// underWay waits until a job has taken steps.
func underWay(t testing.TB, url, job string) {
	t.Helper()
	for deadline := time.Now().Add(jobPatience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		_, answer := call(t, http.MethodGet, url+"/v1/jobs/"+job, nil)
		if progress, ok := answer["progress"].(map[string]any); ok && progress["step"].(float64) > 2 {
			return
		}
		if answer["state"] == "failed" {
			t.Fatalf("%v", answer["error"])
		}
	}
	t.Fatal("the job takes no step")
}

func liveScore(t testing.TB, url, ref string) float64 {
	t.Helper()
	_, score, _, err := ask(url, "In week 9 the soup is a delight.", ref)
	if err != nil {
		t.Fatal(err)
	}
	return score
}
