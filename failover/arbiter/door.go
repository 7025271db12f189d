package arbiter

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/nats-io/nats-server/v2/server"
)

// door lets in who has the token, for what the register of a pair needs, and the arbiter itself.
type door struct {
	token   [sha256.Size]byte // of the brokers' token
	own     string            // the token of the arbiter's own connection, new in each process
	ownHash [sha256.Size]byte
	rights  *server.Permissions // of brokers
}

func newDoor(token, bucket string) *door {
	own := rand.Text()
	return &door{sha256.Sum256([]byte(token)), own, sha256.Sum256([]byte(own)), rightsOf(bucket)}
}

// rightsOf are the subjects of a broker: its keys, what reads them, and its answers.
func rightsOf(bucket string) *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$KV." + bucket + ".>",
			"$JS.API.STREAM.INFO.KV_" + bucket,
			"$JS.API.STREAM.MSG.GET.KV_" + bucket,
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
}

// Check is server.Authentication's.
func (d *door) Check(client server.ClientAuthentication) bool {
	token := client.GetOpts().Token
	if token == "" {
		token = client.GetOpts().Password // of who has put it into the address
	}
	// Hashes are of one length, so that not even that of the token shows in the time it takes.
	given := sha256.Sum256([]byte(token))
	switch {
	case subtle.ConstantTimeCompare(given[:], d.token[:]) == 1:
		client.RegisterUser(&server.User{Username: "broker", Permissions: d.rights})
		return true
	case subtle.ConstantTimeCompare(given[:], d.ownHash[:]) == 1:
		client.RegisterUser(&server.User{Username: "arbiter"})
		return true
	}
	return false
}
