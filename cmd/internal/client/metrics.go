package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Metrics reads the server's metrics by their names; those with labels are left out.
func (c *Client) Metrics(ctx context.Context) (map[string]float64, error) {
	req, err := c.request(ctx, call{method: http.MethodGet, path: "/metrics"})
	if err != nil {
		return nil, err
	}
	status, header, body, err := c.exchange(req)
	switch {
	case err != nil:
		return nil, fmt.Errorf("client: GET /metrics: %w", err)
	case status != http.StatusOK:
		return nil, problemOf(status, header, body)
	}
	return parseMetrics(body)
}

// parseMetrics reads Prometheus' text format.
func parseMetrics(text []byte) (map[string]float64, error) {
	out := map[string]float64{}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for scanner.Scan() {
		name, rest, ok := strings.Cut(scanner.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") || strings.Contains(name, "{") {
			continue
		}
		value, _, _ := strings.Cut(rest, " ") // a time may follow
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("client: metric %s: %w", name, err)
		}
		out[name] = x
	}
	return out, scanner.Err()
}
