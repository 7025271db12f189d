package stomp_test

import (
	"fmt"
	"strings"

	"baton/broker/stomp"
)

// A header of a 1.2 producer is stored as it came, and written for a consumer of each version.
func Example() {
	in := strings.NewReader("SEND\ndestination:/queue/a\nreceipt:1\nuri:http\\c//localhost/\n\nhello\x00")
	f, err := stomp.NewReader(in, stomp.V12, stomp.AfterConnect()).Next()
	if err != nil {
		fmt.Println(err)
		return
	}
	uri, _ := f.Header("uri")
	fmt.Printf("%s with %s: %s\n", f.Command, uri, f.Body)

	block, form := f.AppendHeaders(nil, func(name []byte) bool { return string(name) == "receipt" })
	fmt.Printf("1.0:\n%s", stomp.AppendBlock(nil, block, form, stomp.V10))
	fmt.Printf("1.2:\n%s", stomp.AppendBlock(nil, block, form, stomp.V12))
	// Output:
	// SEND with http://localhost/: hello
	// 1.0:
	// destination:/queue/a
	// uri:http://localhost/
	// 1.2:
	// destination:/queue/a
	// uri:http\c//localhost/
}
