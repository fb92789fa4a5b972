/* The least that a GOCACHEPROG can do: speak the protocol, and look up what go would find, without proving or noting anything.
 *
 * Knows:     gets and the close, as go1.24 and newer write them; that a warm build puts nothing.
 * Called by: benchmarks/cacheprog.py, as the peer: what it costs is the price of the protocol, not of anybody's program.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ID = 32, ENTRY = 175, LONGEST = 4096 };
static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char ACTION[] = "\"ActionID\":\"";

static void to_hex(const char *base64, char *hex)
{
    uint32_t bits = 0;

    for (int at = 0, held = 0, wrote = 0; wrote < 2 * ID && base64[at]; at++) {
        bits = bits << 6 | (uint32_t)(strchr(LETTERS, base64[at]) - LETTERS);
        for (held += 6; held >= 4 && wrote < 2 * ID; wrote++)
            hex[wrote] = "0123456789abcdef"[bits >> (held -= 4) & 15];
    }
}

static void to_base64(const char *hex, char *base64)
{
    uint32_t bits = 0;
    int held = 0, wrote = 0;

    for (int at = 0; at < 2 * ID; at++) {
        bits = bits << 4 | (uint32_t)(hex[at] <= '9' ? hex[at] - '0' : hex[at] - 'a' + 10);
        for (held += 4; held >= 6;)
            base64[wrote++] = LETTERS[bits >> (held -= 6) & 63];
    }
    base64[wrote++] = LETTERS[bits << (6 - held) & 63];
    strcpy(base64 + wrote, "=");
}

static void answer(const char *root, long number, const char *action)
{
    char hex[2 * ID], path[LONGEST], entry[ENTRY], output[2 * ID], base64[50];
    ssize_t size = -1;
    int fd;

    to_hex(action, hex);
    snprintf(path, sizeof path, "%s/%.2s/%.64s-a", root, hex, hex);
    fd = open(path, O_RDONLY);
    if (fd >= 0) {
        size = read(fd, entry, sizeof entry);
        close(fd);
    }
    if (size != ENTRY) {
        printf("{\"ID\":%ld,\"Miss\":true}\n", number);
        return;
    }
    memcpy(output, entry + 68, sizeof output);
    to_base64(output, base64);
    printf("{\"ID\":%ld,\"OutputID\":\"%s\",\"Size\":%ld,\"Time\":\"2026-01-01T00:00:00Z\",\"DiskPath\":\"%s/%.2s/%.64s-d\"}\n",
           number, base64, strtol(entry + 133, NULL, 10), root, output, output);
}

int main(void)
{
    static char in[1 << 17];
    const char *root = getenv("GOCACHE");
    size_t held = 0;
    ssize_t got;

    if (!root)
        return 1;
    setvbuf(stdout, NULL, _IOFBF, 1 << 17);
    puts("{\"ID\":0,\"KnownCommands\":[\"get\",\"close\"]}");
    fflush(stdout);
    while ((got = read(0, in + held, sizeof in - held - 1)) > 0) {
        char *line = in, *end;
        held += (size_t)got;
        in[held] = 0;
        for (; (end = strchr(line, '\n')); line = end + 1) {
            char *action = strstr(line, ACTION);
            long number = line[0] == '{' ? strtol(line + 6, NULL, 10) : 0;
            if (action && action < end)
                answer(root, number, action + sizeof ACTION - 1);
            else if (number)
                printf("{\"ID\":%ld}\n", number);
        }
        fflush(stdout);
        held -= (size_t)(line - in);
        memmove(in, line, held);
    }
    return 0;
}
