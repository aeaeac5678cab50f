package mt5

import "testing"

// The wanted buckets are those of transformers 4.57.6's _relative_position_bucket.
func TestBucket(t *testing.T) {
	for _, tc := range []struct {
		distance, buckets, max int
		both                   bool
		want                   int
	}{
		{0, 32, 128, true, 0}, {-1, 32, 128, true, 1}, {-7, 32, 128, true, 7}, {-8, 32, 128, true, 8},
		{-15, 32, 128, true, 9}, {-16, 32, 128, true, 10}, {-127, 32, 128, true, 15}, {-128, 32, 128, true, 15},
		{-5000, 32, 128, true, 15}, {1, 32, 128, true, 17}, {8, 32, 128, true, 24}, {200, 32, 128, true, 31},
		{5, 32, 128, false, 0}, {0, 32, 128, false, 0}, {-15, 32, 128, false, 15}, {-16, 32, 128, false, 16},
		{-64, 32, 128, false, 26}, {-127, 32, 128, false, 31}, {-128, 32, 128, false, 31}, {-999, 32, 128, false, 31},
	} {
		if got := bucket(tc.distance, tc.buckets, tc.max, tc.both); got != tc.want {
			t.Errorf("bucket(%d, %d, %d, %v) = %d, want %d", tc.distance, tc.buckets, tc.max, tc.both, got, tc.want)
		}
	}
}
