-- By which a look walks through what is due a line at a time, where too much is due to read it all: a line is what one
-- key has at one receiver.
CREATE INDEX endpoints_in_line ON endpoints (key_id, receiver, due_at, id) WHERE due_at IS NOT NULL;
