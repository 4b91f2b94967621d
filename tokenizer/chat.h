/* Chat templates: a conversation as JSON becomes the text and ids that a model was trained on. */
#ifndef MR_TOKENIZER_CHAT_H
#define MR_TOKENIZER_CHAT_H

#include "tokenizer/tokenizer.h"

/* Appends text and ids of a request, which is JSON as mistral-common takes it:
 *   {"messages": [..], "tools": [..] or null, "continue_final_message": true or false}
 * version: "v1", "v2", "v3", "v7", "v11" or "v13"; NULL: the tokenizer's own.
 * The text is mistral-common's: pieces for SentencePiece, plain text for Tekken, control tokens by
 * name. The ids are made piece by piece, so encoding the text again does not give them.
 * MR_BAD, with nothing appended, where mistral-common refuses in its default mode ("test"), and for
 * contents other than text and thinking. */
mr_status mr_chat_encode(const mr_tokenizer *tokenizer, const char *version, const char *request,
                         idx bytes, mr_text *text, mr_ids *ids, mr_err *err);

/* The same, and appends to *turns where each turn of the assistant is in the ids, its EOS included:
 * first, end, first, end, ... What a model is trained to write. As in mistral-common's mode
 * "finetuning", the assistant may have the last word. turns NULL: as mr_chat_encode. */
mr_status mr_chat_encode_turns(const mr_tokenizer *tokenizer, const char *version,
                               const char *request, idx bytes, mr_text *text, mr_ids *ids,
                               mr_ids *turns, mr_err *err);

#endif
