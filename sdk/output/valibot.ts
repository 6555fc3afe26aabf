interface ConvertedAction {
  jsonSchema: object;
  /** Undefined where the action has its words in JSON Schema. */
  errors: readonly string[] | undefined;
}

/**
 * What toStandardJsonSchema() of @valibot/to-json-schema is asked for besides: an action that JSON Schema has no words for,
 * such as v.check(), is left to Valibot's own check of the answer. Without this it would refuse the whole schema.
 */
export const valibotOptions = {
  overrideAction: ({ jsonSchema, errors }: ConvertedAction): object | undefined => errors && jsonSchema,
};
