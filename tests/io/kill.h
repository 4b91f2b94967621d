/* Training that is killed while it saves. */
#ifndef MR_TESTS_IO_KILL_H
#define MR_TESTS_IO_KILL_H

/* The number of kills after which something was lost. */
long io_kills(void);

#endif
