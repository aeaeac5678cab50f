package main

import (
	"slices"
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
	"valence/cmd/internal/client"
)

// heardWithin is how soon a server must answer with what another one was told.
const heardWithin = time.Second

// TestReplicas changes an adapter on one of two servers of one database, and asks the
// other until it answers with the version that is active now.
func TestReplicas(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		place := []string{"--data-dir", o.Dir}
		if o.URL != "" {
			place = []string{"--database-url", o.URL}
		}
		var servers [2]*client.Client
		for i := range servers {
			url, _, _ := serve(t, place...)
			var err error
			if servers[i], err = client.New(client.Options{URL: url}); err != nil {
				t.Fatal(err)
			}
		}
		versions := []string{}
		for _, c := range contents(t)[:2] {
			p, err := servers[0].Upload(t.Context(), "acme/reviews", c.files, true)
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, p.Version)
		}
		hears(t, servers[1], versions[1]) // which the other server is to activate
		var heard []time.Duration
		for i := range 20 {
			teller, listener, version := servers[i%2], servers[1-i%2], versions[i%2]
			if _, err := teller.Activate(t.Context(), "acme/reviews", version); err != nil {
				t.Fatal(err)
			}
			heard = append(heard, hears(t, listener, version))
		}
		slices.Sort(heard)
		t.Logf("a change is heard after %v (median), %v at most", heard[len(heard)/2], heard[len(heard)-1])
		if median := heard[len(heard)/2]; median > heardWithin {
			t.Errorf("half of the changes took more than %v", median)
		}
	})
}

// hears asks until the version answers, and tells how long that took.
func hears(t *testing.T, server *client.Client, version string) time.Duration {
	t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(time.Millisecond) {
		a, err := server.Sentiment(t.Context(), client.Request{Inputs: []client.Input{{Text: killText, Adapter: client.One("acme/reviews")}}})
		if err == nil && a.Results[0].Adapter.Version == version {
			return time.Since(start)
		}
	}
	t.Fatalf("%s is not heard of", version)
	return 0
}
