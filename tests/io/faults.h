/* System calls that fail on purpose: which call, and how. */
#ifndef MR_TESTS_IO_FAULTS_H
#define MR_TESTS_IO_FAULTS_H

#include <stdbool.h>

/* What a call does. OPEN reads, CREATE makes a file. */
typedef enum {
    CALL_OPEN, CALL_CREATE, CALL_CLOSE, CALL_READ, CALL_WRITE, CALL_SYNC, CALL_RENAME, CALL_UNLINK,
    CALL_LOOK, CALL_MODE, CALL_FOLDER, CALL_LIST, CALL_MAP, CALL_KINDS
} call_kind;

#define ALL_CALLS ((1u << CALL_KINDS) - 1)

typedef enum {
    FAULT_NONE,
    FAULT_ERROR,   /* the call fails with `error` */
    FAULT_SHORT,   /* a transfer moves one byte; with `later` at most SHORT */
    FAULT_KILL     /* SIGKILL: before the call, or after `part` of what it writes */
} fault_effect;

typedef struct {
    fault_effect effect;
    int          error;
    unsigned     kinds;   /* bits of the calls that it concerns */
    long         at;      /* number of the call, from 1 */
    bool         later;   /* and all after it; EINTR: every second */
    double       part;
} fault_plan;

#define CALLS 4096        /* remembered by kind */

/* Shared with the parent, so that it outlives a killed process. */
typedef struct {
    long          count;         /* calls so far */
    long          touched;       /* of them met the fault */
    bool          left;          /* an unlink was among these: a temporary file may stay */
    bool          unsynced;      /* a file got its name before it was flushed, or its folder never
                                  * was */
    int           fd_1;          /* calls that wrote to standard output and met the fault */
    int           open;          /* descriptors left open */
    unsigned char kind[CALLS];
} fault_log;

extern fault_plan fault;
extern fault_log *fault_seen;

/* From here on the streams of this process go through the calls below. */
void fault_streams(int in, int out);

/* A folder that waits for its flush counts as unsynced. */
void fault_end(void);

#endif
