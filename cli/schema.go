package cli

import (
	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/config"
)

func (p Program) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration",
		Long: `Print the JSON Schema (2020-12) of the configuration, every key with its meaning and
default. An editor with a YAML language server completes and checks by it when the first
line of a file names it:

  # yaml-language-server: $schema=vipilot.schema.json`,
		Example: `  vipilot schema > vipilot.schema.json`,
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = p.Stdout.Write(text)
			return err
		},
	}
}
