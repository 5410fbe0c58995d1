package config

import (
	"slices"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"todo", "shop", "web-1", "web-2", "app1/web-1", "blog.example.net", "todo"}
	for _, test := range []struct {
		word string
		want []string
	}{
		{"tood", []string{"todo"}},
		{"WEB-1", []string{"web-1", "web-2", "app1/web-1"}},
		{"web", []string{"web-1", "web-2", "app1/web-1"}},
		{"blog", []string{"blog.example.net"}},
		{"bolg.example.net", []string{"blog.example.net"}},
		{"zebra", nil},
		{"", nil},
	} {
		if got := Nearest(test.word, names, 3); !slices.Equal(got, test.want) {
			t.Errorf("nearest to %q: %q, want %q", test.word, got, test.want)
		}
	}
}
