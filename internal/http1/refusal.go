package http1

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Refusal is the answer, in Vault's error shape, to what never becomes a request, behind
// which the connection ends. Without a text, the status says what is wrong; 417 says nothing
// else, as net/http does.
func Refusal(status int, text string) []byte {
	line := fmt.Sprintf("%d %s", status, http.StatusText(status))
	if text == "" {
		text = "the request is not valid HTTP: " + line
	}
	if status == http.StatusExpectationFailed {
		return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", line)
	}
	body, _ := json.Marshal(map[string][]string{"errors": {"vrproxy: " + text}}) // strings always marshal
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Vrproxy-Error: bad-request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", line, len(body), body)
}
