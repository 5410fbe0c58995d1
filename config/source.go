package config

import "context"

// Load gives the configuration that the directory holds now; see [LoadOver].
func (d Dir) Load(_ context.Context, inForce *Config) (*Config, error) { return LoadOver(d, inForce) }

// Sync has nothing to do: Load always reads the directory.
func (d Dir) Sync(context.Context) error { return nil }

// Fault is always nil: what is wrong with a directory, Load says.
func (d Dir) Fault() error { return nil }

// Follow is [Watch].
func (d Dir) Follow(ctx context.Context, changed chan<- struct{}, outside func() []string) error {
	return Watch(ctx, string(d), changed, outside)
}
