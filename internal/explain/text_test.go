package explain

import "testing"

func TestWrapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ head, text, want string }{
		{"  a  ", "one two", "  a  one two\n"},
		{"  a  ", "one two three", "  a  one two\n     three\n"},
		{"  a  ", "a-very-long-word x", "  a  a-very-long-word\n     x\n"},
		{"a ", "", "a \n"},
	} {
		if got := Wrapped(c.head, c.text, 12); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most int
		want string
	}{{20, "eu-west-production"}, {9, "eu-w…tion"}, {3, "e…n"}} {
		if got := Cut("eu-west-production", c.most); got != c.want {
			t.Errorf("%d: %q, want %q", c.most, got, c.want)
		}
	}
}
