package configs

import (
	"fmt"
	"regexp"
	"strings"
)

// reference matches $${ (an escaped ${), ${NAME}, and any other ${ as an error.
var reference = regexp.MustCompile(`\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{`)

// expand replaces each ${NAME} in s by the variable's value. It works on one
// decoded value, never on the file's text, so that what a variable holds can't
// become YAML. Values that were put in are not expanded again.
func expand(s string, env func(string) string) (string, error) {
	var problem error
	out := reference.ReplaceAllStringFunc(s, func(match string) string {
		switch match {
		case "$${":
			return "${"
		case "${":
			problem = fmt.Errorf("${ starts no variable name; write ${NAME}, or $${ for a literal ${")
			return ""
		}
		name := strings.TrimSuffix(strings.TrimPrefix(match, "${"), "}")
		value := env(name)
		if value == "" {
			problem = fmt.Errorf("the environment variable %s is not set or empty; set it, or write $${%s} for the literal text", name, name)
		}
		return value
	})
	return out, problem
}
